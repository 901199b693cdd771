package http

import (
	"cmp"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/validation"
	"github.com/swaggest/jsonschema-go"
	"github.com/swaggest/openapi-go"
	"github.com/swaggest/openapi-go/openapi31"

	"truebond/commands"
	"truebond/ledger"
)

const (
	schemeToken  = "accessToken"
	schemeAPIKey = "apiKey"
)

const apiDescription = "Requests refuse what is not described here; answers may gain fields. " +
	"Amounts are integers: credits, or minor units of a currency. Times are RFC 3339, UTC. " +
	"Every failure is a problem (RFC 9457) with a `code` for programs: 400 when the form of a request " +
	"is wrong, 422 when its values break a rule."

// problemDoc is a problem as the document shows it.
type problemDoc struct {
	Type      string       `json:"type" required:"true" description:"urn:truebond:problem: and the code"`
	Title     string       `json:"title" required:"true"`
	Status    int          `json:"status" required:"true"`
	Detail    string       `json:"detail" description:"One sentence for people."`
	Code      string       `json:"code" required:"true" description:"For programs: insufficient_credits."`
	RequestID string       `json:"request_id" required:"true"`
	Errors    []fieldFault `json:"errors" description:"The fields that are at fault."`
	Available *int64       `json:"available" description:"With insufficient_credits: what there is."`
	Required  *int64       `json:"required" description:"With insufficient_credits: what it takes."`
}

type fieldFault struct {
	Pointer string `json:"pointer" required:"true" description:"A JSON pointer as a fragment: #/email"`
	In      string `json:"in" enum:"query,path,header" description:"Where the field is; the body if absent."`
	Detail  string `json:"detail" required:"true"`
}

// describe writes the OpenAPI document of all routes.
func describe(cfg Config) ([]byte, error) {
	d := describer{r: openapi31.NewReflector(), named: map[string]reflect.Type{}}
	d.r.DefaultOptions = append(d.r.DefaultOptions, jsonschema.InterceptDefName(d.name),
		jsonschema.InterceptProp(alwaysThere), jsonschema.InterceptProp(neverEmpty))
	d.r.AddTypeMapping(problem{}, problemDoc{})
	info := openapi31.Info{Title: "TrueBond", Version: cmp.Or(cfg.Version, "dev")}
	info.WithDescription(apiDescription)
	d.r.Spec.WithInfo(info)
	if cfg.Backend != "" {
		d.r.Spec.WithServers(openapi31.Server{URL: strings.TrimSuffix(cfg.Backend, "/")})
	}
	d.addSchemes()
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		if err := d.add(r); err != nil {
			return nil, fmt.Errorf("describe %s: %w", r.key(), err)
		}
	}
	return json.MarshalIndent(d.r.Spec, "", "  ")
}

// addSchemes says how callers tell who they are.
func (d *describer) addSchemes() {
	bearer := (&openapi31.SecurityScheme{}).
		WithDescription("From signing up or logging in. Its roles are the session's.").
		WithHTTPBearer(*(&openapi31.SecuritySchemeHTTPBearer{}).WithScheme("bearer").WithBearerFormat("JWT"))
	key := (&openapi31.SecurityScheme{}).
		WithDescription("For servers, never for browsers. It may also be sent as a bearer token.").
		WithAPIKey(openapi31.SecuritySchemeAPIKey{Name: headerAPIKey,
			In: openapi31.SecuritySchemeAPIKeyInHeader})
	d.r.Spec.ComponentsEns().
		WithSecuritySchemesItem(schemeToken, openapi31.SecuritySchemeOrReference{SecurityScheme: bearer}).
		WithSecuritySchemesItem(schemeAPIKey, openapi31.SecuritySchemeOrReference{SecurityScheme: key})
}

type describer struct {
	r     *openapi31.Reflector
	named map[string]reflect.Type
}

// name gives a type its bare name. The second of two that are called the same keeps its
// package's name, too.
func (d *describer) name(t reflect.Type, long string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[problemDoc]():
		return "Problem"
	case reflect.TypeFor[fieldFault]():
		return "FieldFault"
	}
	name := t.Name()
	if name == "" {
		return long
	}
	if outer, inner, ok := strings.Cut(strings.TrimSuffix(name, "]"), "["); ok {
		// List[…/queries.Call] is a CallList
		name = inner[strings.LastIndexAny(inner, "./")+1:] + outer
	}
	name = strings.ToUpper(name[:1]) + name[1:]
	if other, taken := d.named[name]; taken && other != t {
		return long
	}
	d.named[name] = t
	return name
}

// alwaysThere says that a field of an answer is required, unless it may be left out.
// What a request must have is known from its rules and set over this.
func alwaysThere(p jsonschema.InterceptPropParams) error {
	if !p.Processed || p.ParentSchema == nil {
		return nil
	}
	tag := p.Field.Tag.Get("json")
	if tag == "" || strings.Contains(tag, "omit") || p.Field.Type.Kind() == reflect.Pointer ||
		slices.Contains(p.ParentSchema.Required, p.Name) {
		return nil
	}
	p.ParentSchema.Required = append(p.ParentSchema.Required, p.Name)
	return nil
}

// neverEmpty says of a text in a query that it must have something in it.
func neverEmpty(p jsonschema.InterceptPropParams) error {
	_, inQuery := p.Field.Tag.Lookup("query")
	if p.Processed && inQuery && p.Field.Type.Kind() == reflect.String && !mayBeEmpty(p.Field) {
		p.PropertySchema.WithMinLength(1)
	}
	return nil
}

func (d *describer) add(r *Route) error {
	oc, err := d.r.NewOperationContext(r.method, r.openAPIPath())
	if err != nil {
		return err
	}
	oc.SetID(operationID(r))
	oc.SetTags(tagOf(r.path))
	oc.SetSummary(r.summary)
	oc.SetDescription(describeAccess(r))
	if len(r.roles) > 0 {
		oc.AddSecurity(schemeToken)
	}
	if len(r.scopes) > 0 || r.operators {
		oc.AddSecurity(schemeAPIKey)
	}
	exposed, ok := oc.(openapi31.OperationExposer)
	if !ok {
		return fmt.Errorf("the document's own words for an operation are out of reach")
	}
	d.addRequest(oc, r)
	addHeaders(exposed.Operation(), r)
	d.addAnswers(oc, r)
	if err := d.r.AddOperation(oc); err != nil {
		return err
	}
	d.finish(exposed.Operation(), r)
	return nil
}

func (d *describer) addRequest(oc openapi.OperationContext, r *Route) {
	mapping := map[string]string{}
	for _, f := range reflect.VisibleFields(r.in) {
		if name, ok := f.Tag.Lookup("param"); ok {
			mapping[f.Name] = name
		}
	}
	if r.in.NumField() == 0 {
		return
	}
	oc.AddReqStructure(reflect.New(r.in).Interface(), func(cu *openapi.ContentUnit) {
		cu.SetFieldMapping(openapi.InPath, mapping)
	})
}

var (
	textSchema     = map[string]any{"type": "string"}
	positionSchema = map[string]any{"type": "integer", "format": "int64", "minimum": 0}
	keySchema      = map[string]any{"type": "string", "minLength": 1, "maxLength": commands.IdempotencyKeyMax,
		"pattern": "^[!-~]+$"}
)

// rawSchemas are what is known of an answer that is sent as it is, by its content type.
var rawSchemas = map[string]map[string]any{
	jsonType:   {"type": "object"},
	octetsType: {"type": "string", "format": "binary"},
}

// addHeaders adds what a request says in headers, and what the reflector has no words for.
func addHeaders(op *openapi31.Operation, r *Route) {
	switch {
	case r.raw:
		op.RequestBodyEns().RequestBodyEns().WithRequired(true).
			WithContentItem(jsonType, openapi31.MediaType{Schema: map[string]any{"type": "object"}})
	case r.command() && r.keyless:
	case r.command():
		op.Parameters = append(op.Parameters, headerParameter(headerIdempotencyKey, keySchema, r.once,
			"The same request with the same key is done once, for ever."))
	case r.inShape.headers[headerPosition] == nil: // it has its own words for it otherwise
		op.Parameters = append(op.Parameters, headerParameter(headerPosition, positionSchema, false,
			"Wait until the answer shows this position of the log."))
	}
	if !r.unlimited && r.limit.count > 0 {
		op.WithMapOfAnythingItem("x-rate-limit", map[string]any{
			"requests": r.limit.count, "seconds": int(r.limit.period.Seconds())})
	}
}

func (d *describer) addAnswers(oc openapi.OperationContext, r *Route) {
	ok := openapi.WithHTTPStatus(r.status())
	switch {
	case r.streaming:
		oc.AddRespStructure("", ok, openapi.WithContentType(ndjsonType))
	case r.contentType != "":
		oc.AddRespStructure("", ok, openapi.WithContentType(r.contentType))
	default:
		oc.AddRespStructure(reflect.New(r.out).Interface(), ok)
	}
	for status, description := range r.failures() {
		oc.AddRespStructure(new(problemDoc), openapi.WithHTTPStatus(status), openapi.WithContentType(problemType),
			func(cu *openapi.ContentUnit) { cu.Description = description })
	}
	oc.AddRespStructure(new(problemDoc), openapi.WithContentType(problemType), func(cu *openapi.ContentUnit) {
		cu.IsDefault, cu.Description = true, "Any other failure."
	})
}

// refusalTexts describe what a route's word `refuses` may name.
var refusalTexts = map[int]string{
	nethttp.StatusUnauthorized:        "The password, the address or the token is not good.",
	nethttp.StatusPaymentRequired:     "Too few credits: `available` and `required` tell how many.",
	nethttp.StatusNotFound:            "There is no such thing or user, or it is not yours.",
	nethttp.StatusUnprocessableEntity: "A value breaks a rule.",
	nethttp.StatusBadGateway:          "Stripe does not do it just now.",
}

// failures are the statuses that a route's line promises.
func (r *Route) failures() map[int]string {
	told := map[int]string{
		nethttp.StatusBadRequest:         "The form of the request is wrong.",
		nethttp.StatusServiceUnavailable: "Not just now: see Retry-After.",
	}
	if !r.open {
		told[nethttp.StatusUnauthorized] = "No credential, or none that is good."
		told[nethttp.StatusForbidden] = "It is not yours to do."
	}
	if len(r.inShape.params) > 0 {
		told[nethttp.StatusNotFound] = "There is no such thing, or it is not yours."
	}
	if r.command() {
		told[nethttp.StatusConflict] = "It is under way, or something else was there first."
	}
	if r.command() || r.in.Implements(reflect.TypeFor[validation.Validatable]()) {
		told[nethttp.StatusUnprocessableEntity] = "A value breaks a rule, or the key was used for another request."
	}
	if r.raw || len(r.inShape.fields) > 0 {
		told[nethttp.StatusRequestEntityTooLarge] = "The body is too large."
	}
	if len(r.inShape.fields) > 0 {
		told[nethttp.StatusUnsupportedMediaType] = "The body is not application/json."
	}
	if !r.unlimited && (r.open || len(r.roles) > 0) {
		told[nethttp.StatusTooManyRequests] = "Too many requests: see Retry-After."
	}
	for _, status := range r.refusals {
		told[status] = refusalTexts[status]
	}
	return told
}

// finish adds to what the reflector made of an In and an Out.
func (d *describer) finish(op *openapi31.Operation, r *Route) {
	answer := op.Responses.MapOfResponseOrReferenceValues[fmt.Sprint(r.status())].Response
	if answer != nil && r.out.Implements(reflect.TypeFor[receipt]()) {
		answer.WithHeadersItem(headerPosition, header(positionSchema, "Where the event is in the log."))
		answer.WithHeadersItem(headerReplayed, header(textSchema, "`true` if this is the first answer again."))
	}
	if schema := rawSchemas[r.contentType]; schema != nil && answer != nil {
		answer.Content[r.contentType] = openapi31.MediaType{Schema: schema}
	}
	if op.RequestBody != nil && op.RequestBody.RequestBody != nil && len(r.inShape.fields) > 0 {
		op.RequestBody.RequestBody.WithRequired(len(r.requiredIns) > 0)
		d.closeBody(op.RequestBody.RequestBody.Content[jsonType].Schema, r)
	}
}

// closeBody says of a request's body that it takes no other fields, and which it needs.
func (d *describer) closeBody(schema map[string]any, r *Route) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = d.r.Spec.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
	if schema == nil {
		return
	}
	schema["additionalProperties"] = false
	delete(schema, "required")
	if len(r.requiredIns) > 0 {
		schema["required"] = r.requiredIns
	}
}

func headerParameter(name string, schema map[string]any, required bool, text string,
) openapi31.ParameterOrReference {
	p := (&openapi31.Parameter{}).WithName(name).WithIn(openapi31.ParameterInHeader).WithSchema(schema).
		WithRequired(required).WithDescription(text)
	return openapi31.ParameterOrReference{Parameter: p}
}

func header(schema map[string]any, text string) openapi31.HeaderOrReference {
	return openapi31.HeaderOrReference{Header: (&openapi31.Header{}).WithSchema(schema).WithDescription(text)}
}

// describeAccess says in words who may come in.
func describeAccess(r *Route) string {
	if r.open {
		return "For anyone."
	}
	who := slices.Clone(r.roles)
	for _, scope := range r.scopes {
		who = append(who, "an API key with the scope `"+scope+"`")
	}
	if r.operators {
		who = append(who, "an API key with the scope `"+ledger.ScopeOperator+"`")
	}
	return "For: " + strings.Join(who, ", or ") + "."
}

// operationID makes `post_api_posts_id_like` of `POST /api/posts/{id}/like`.
func operationID(r *Route) string {
	id := strings.NewReplacer("/", "_", "{", "", "}", "", "-", "_", ".", "_").Replace(r.openAPIPath())
	return strings.ToLower(r.method) + id
}

// tagOf groups routes by the first word behind /api.
func tagOf(path string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/api/"), "/") {
		if part != "" && part != "v2" {
			return part
		}
	}
	return "api"
}

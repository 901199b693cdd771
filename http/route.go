// Package http is the one way in for apps, browsers, Stripe and operators: routes as
// lines of one table, and around them what every route has in common: who asks, what
// they may, how often, what they sent, and what they are told when it fails.
package http

import (
	"context"
	"fmt"
	nethttp "net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"truebond/ledger"
)

const (
	perMinute   = time.Minute
	bodyMax     = 64 << 10 // bytes of a JSON request; the largest of ours is a message
	bulkBodyMax = 3 << 20  // bytes: 1,000 deductions, each character of each written as an escape
	rawBodyMax  = 1 << 20  // bytes of a webhook; Stripe's events are some 10 KiB, rarely 200
)

// A Route is one line of the table.
type Route struct {
	method  string
	path    string // `/api/posts/{id}/like`; `{index...}` at its end takes all that follows
	summary string

	open        bool     // to anyone, with or without a token
	roles       []string // any of these is enough
	scopes      []string // of an API key; any of these is enough
	operators   bool
	limit       rate
	unlimited   bool
	once        bool
	keyless     bool
	created     bool
	raw         bool
	contentType string // of an answer that is sent as it is; empty: JSON
	bodyMax     int64
	vet         func(body []byte, header nethttp.Header) error // before it is passed on; nil: nothing is looked at
	in, out     reflect.Type
	inShape     *inShape
	streaming   bool
	call        func(fill func(in any) (context.Context, error)) (any, error)
	refusals    []int    // statuses of what it refuses, beside those that follow from its line
	requiredIns []string // top-level fields that the In's rules do not allow to lack
}

type rate struct {
	count  int
	period time.Duration
}

// An option is a word of a route's line.
type option func(*Route)

// A Lines is an answer that comes line by line (NDJSON), for as long as it takes.
// Lines ends with the first error, which is told to the client in a last line.
type Lines interface {
	Lines(write func(line any) error) error
}

// A Raw is an answer that is sent as it is, with the content type of its route's line.
// What never changes and is for everybody may be kept for ever.
type Raw interface {
	Raw() (body []byte, forEver bool)
}

// A handler does the work of a route: a command, or a query.
type handler[In, Out any] = func(ctx context.Context, in In) (Out, error)

func get[In, Out any](path string, do handler[In, Out], summary string, opts ...option) Route {
	return newRoute(nethttp.MethodGet, path, do, summary, opts)
}

func post[In, Out any](path string, do handler[In, Out], summary string, opts ...option) Route {
	return newRoute(nethttp.MethodPost, path, do, summary, opts)
}

func del[In, Out any](path string, do handler[In, Out], summary string, opts ...option) Route {
	return newRoute(nethttp.MethodDelete, path, do, summary, opts)
}

// Who may come in. Several of these on one line are alternatives.
func public(r *Route)   { r.open = true }
func user(r *Route)     { r.roles = append(r.roles, ledger.RoleUser) }
func admin(r *Route)    { r.roles = append(r.roles, ledger.RoleAdmin) }
func finance(r *Route)  { r.roles = append(r.roles, ledger.RoleFinance) }
func operator(r *Route) { r.operators = true }

// app admits a server whose API key has this scope.
func app(scope string) option {
	return func(r *Route) { r.scopes = append(r.scopes, scope) }
}

// limit bounds how often a user, or on a public route an address, may come; all of a
// period's requests may come at once. API keys have no limit.
func limit(count int, period time.Duration) option {
	return func(r *Route) { r.limit = rate{count: count, period: period} }
}

// unlimited frees a route of the limit that an address has over all routes, too.
func unlimited(r *Route) { r.unlimited = true }

// once demands an Idempotency-Key.
func once(r *Route) { r.once = true }

// keyless says that an Idempotency-Key changes nothing here: what is asked is done each time.
func keyless(r *Route) { r.keyless = true }

// created answers 201 in place of 200.
func created(r *Route) { r.created = true }

// plain sends the answer, which is a Raw, as it is and not as JSON.
func plain(contentType string) option {
	return func(r *Route) { r.contentType = contentType }
}

// rawBody gives the In the exact bytes that came, in its field tagged `body:"raw"`, and
// lifts the limits: a webhook is believed for its signature, and must not be lost.
func rawBody(r *Route) {
	r.raw, r.unlimited, r.bodyMax = true, true, rawBodyMax
}

// vetted has a server look at a request before it passes it on: what anybody may send, as often as they
// like, is to be no work of the leader's.
func vetted(vet func(body []byte, header nethttp.Header) error) option {
	return func(r *Route) { r.vet = vet }
}

// refuses says in the document which statuses a route answers with beside those that follow from its line.
func refuses(statuses ...int) option {
	return func(r *Route) { r.refusals = statuses }
}

// bodyUpTo lets a route's body have more bytes than others may.
func bodyUpTo(bytes int64) option { return func(r *Route) { r.bodyMax = bytes } }

func newRoute[In, Out any](method, path string, do handler[In, Out], summary string, opts []option) Route {
	r := Route{method: method, path: path, summary: summary, bodyMax: bodyMax,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out]()}
	for _, opt := range opts {
		opt(&r)
	}
	r.streaming = r.out.Implements(reflect.TypeFor[Lines]())
	r.call = func(fill func(in any) (context.Context, error)) (any, error) {
		var in In
		ctx, err := fill(&in)
		if err != nil {
			return nil, err
		}
		return do(ctx, in)
	}
	return r
}

// command tells whether a route changes something. All but GET do.
func (r *Route) command() bool { return r.method != nethttp.MethodGet }

// key names a route for people and metrics.
func (r *Route) key() string { return r.method + " " + r.path }

func (r *Route) status() int {
	if r.created {
		return nethttp.StatusCreated
	}
	return nethttp.StatusOK
}

// prepare checks that a line of the table makes sense, and works out how its In is read.
func (r *Route) prepare() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("route %s: %w", r.key(), err)
		}
	}()
	guarded := len(r.roles) > 0 || len(r.scopes) > 0 || r.operators
	switch {
	case !strings.HasPrefix(r.path, "/") || strings.ContainsAny(r.path, ":*"):
		return fmt.Errorf("a path begins with / and has its parameters in braces")
	case r.summary == "":
		return fmt.Errorf("it says nothing about itself")
	case r.open == guarded:
		return fmt.Errorf("it must be either public or somebody's")
	case r.once && (r.open || !r.command()):
		return fmt.Errorf("an idempotency key is a known caller's, and a command's")
	case r.once && r.keyless:
		return fmt.Errorf("it cannot both need an idempotency key and not look at it")
	case (r.contentType != "") != r.out.Implements(reflect.TypeFor[Raw]()):
		return fmt.Errorf("plain goes with an answer that is a Raw, and with that alone")
	case strings.Contains(strings.TrimSuffix(r.path, "...}"), "..."):
		return fmt.Errorf("what takes all that follows is the end of a path")
	case r.streaming && r.once:
		return fmt.Errorf("a stream cannot be replayed")
	case slices.ContainsFunc(r.refusals, func(status int) bool { return refusalTexts[status] == "" }):
		return fmt.Errorf("it refuses what has no text in the document: %v", r.refusals)
	}
	r.inShape, err = shapeOfIn(r.in, r.raw)
	if err != nil {
		return err
	}
	if len(r.inShape.fields) > 0 && !r.command() {
		return fmt.Errorf("a GET takes no body, yet its In has json fields")
	}
	params := pathParams(r.path)
	for _, name := range params {
		if r.inShape.params[name] == nil {
			return fmt.Errorf("its In has no field for {%s}", name)
		}
	}
	if len(params) != len(r.inShape.params) {
		return fmt.Errorf("its In has parameters that the path lacks")
	}
	r.requiredIns = slices.DeleteFunc(requiredFields(reflect.New(r.in).Interface()), func(name string) bool {
		return r.inShape.fields[name] == nil // it is not of the body
	})
	return nil
}

// echoPath is the path as Echo writes it: `/api/posts/:id/like`, `/api/tile/*`.
func (r *Route) echoPath() string {
	path := strings.NewReplacer("{", ":", "}", "").Replace(r.path)
	if rest := r.rest(); rest != "" {
		path = strings.TrimSuffix(path, ":"+rest+"...") + "*"
	}
	return path
}

// rest is the parameter that takes all that follows; empty if there is none.
func (r *Route) rest() string {
	names := pathParams(r.path)
	if len(names) == 0 || !strings.HasSuffix(r.path, "...}") {
		return ""
	}
	return names[len(names)-1]
}

// openAPIPath is the path as OpenAPI writes it, which has no word for what takes more
// than one part.
func (r *Route) openAPIPath() string { return strings.Replace(r.path, "...}", "}", 1) }

func pathParams(path string) []string {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}") {
			names = append(names, strings.TrimSuffix(part[1:len(part)-1], "..."))
		}
	}
	return names
}

// admits tells whether any of a route's words lets a caller in.
func (r *Route) admits(roles, scopes []string, onSocket bool) bool {
	anyOf := func(wanted, had []string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(had, w) })
	}
	return r.open || anyOf(r.roles, roles) || anyOf(r.scopes, scopes) ||
		r.operators && (onSocket || slices.Contains(scopes, ledger.ScopeOperator))
}

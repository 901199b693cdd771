package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/swaggest/jsonschema-go"

	"truebond/commands"
	"truebond/commands/stripe"
	"truebond/events"
	"truebond/http"
	"truebond/queries"
)

//go:generate go test -count=1 -run ^TestGeneratedDocumentsAreAsTheCodeSays$ . -args -write-docs

var writeDocs = flag.Bool("write-docs", false, "write the generated documents instead of checking them")

const docsFolder = "../../docs"

// What a program can read of the API and the events is made from the routes and the
// event types. What people read of them is written by hand, in the guides.
func TestGeneratedDocumentsAreAsTheCodeSays(t *testing.T) {
	generated := map[string][]byte{"openapi.json": openAPI(t)}
	words := readWords(t, "../../events")
	for _, typ := range events.Types() {
		generated["events/"+typ.Name+".json"] = eventSchema(t, typ, words)
	}
	if *writeDocs {
		if err := os.RemoveAll(filepath.Join(docsFolder, "events")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(docsFolder, "events"), 0o755); err != nil { //nolint:gosec // documents
			t.Fatal(err)
		}
		for name, content := range generated {
			if err := os.WriteFile(filepath.Join(docsFolder, name), content, 0o644); err != nil { //nolint:gosec // documents
				t.Fatal(err)
			}
		}
	}
	for name, content := range generated {
		committed, err := os.ReadFile(filepath.Join(docsFolder, name))
		if err != nil || !bytes.Equal(committed, content) {
			t.Errorf("docs/%s is not what the code says (%v): go generate ./...", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(docsFolder, "events", "*"))
	if err != nil || len(files) != len(generated)-1 {
		t.Errorf("docs/events has %d files for %d event types (%v): go generate ./...", len(files), len(generated)-1, err)
	}
}

// testClocked is an operator of a server that has all routes. None is ever called.
type testClocked struct{ http.Operator }

func (testClocked) TestClock() bool { return true }

// openAPI describes all routes, those of the simulation and of the test clock too.
func openAPI(t *testing.T) []byte {
	t.Helper()
	do := commands.NewService(commands.Parts{Simulator: stripe.NewSimulation("", nil)})
	server, err := http.New(http.Config{
		Routes: http.Routes(do, queries.NewService(queries.Parts{}), testClocked{}),
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	document, err := server.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	return append(document, '\n')
}

// eventSchema describes an event's body as the log keeps it.
func eventSchema(t *testing.T, typ events.Type, words words) []byte {
	t.Helper()
	inner := map[string]any{}
	reflector := jsonschema.Reflector{}
	data, err := reflector.Reflect(reflect.New(typ.Go).Elem().Interface(),
		jsonschema.DefinitionsPrefix("#/$defs/"),
		jsonschema.CollectDefinitions(func(name string, s jsonschema.Schema) {
			inner[name] = *s.WithDescription(words[name])
		}),
		jsonschema.InterceptDefName(func(t reflect.Type, _ string) string { return t.Name() }),
		jsonschema.InterceptProp(words.describe),
	)
	if err != nil {
		t.Fatal(err)
	}
	data.WithDescription(words[typ.Go.Name()])
	body, err := json.MarshalIndent(schemaOf(typ, data, inner), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(body, '\n')
}

func schemaOf(typ events.Type, data any, inner map[string]any) map[string]any {
	schema := map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"$id":         fmt.Sprintf("/schemas/%s/%d", typ.Name, typ.Schema),
		"title":       typ.Name,
		"type":        "object",
		"description": "An event's body in the log. Its position is the message's sequence in the stream.",
		"required":    []string{"key", "type", "schema", "time", "actor", "data"},
		"properties": map[string]any{
			"key":    plainText("What makes it happen once, for ever."),
			"type":   map[string]any{"const": typ.Name},
			"schema": map[string]any{"const": typ.Schema},
			"time":   moment("When the server decided, UTC."),
			"effective": moment("When it happened outside, such as Stripe's `created`. " +
				"Left out when it is the same as `time`."),
			"actor": plainText("Who asked: user/…, app/…, stripe/…, operator or system."),
			"cause": map[string]any{"type": "integer", "minimum": 1,
				"description": "Position of the event that led to this one."},
			"request": map[string]any{"type": "string", "contentEncoding": "base64",
				"description": "HMAC of the route and body that asked for it."},
			"moves": map[string]any{"type": "array", "items": moveSchema(),
				"description": "What it moved, by double entry."},
			"data": data,
		},
	}
	if len(inner) > 0 {
		schema["$defs"] = inner
	}
	return schema
}

func moveSchema() map[string]any {
	return map[string]any{
		"type": "object", "required": []string{"from", "to", "asset", "amount"},
		"properties": map[string]any{
			"from":  plainText("The account that loses."),
			"to":    plainText("The account that gains."),
			"asset": map[string]any{"enum": append([]events.Asset{events.Credit}, events.Currencies...)},
			"amount": map[string]any{"type": "integer", "minimum": 1,
				"description": "Credits, or minor units of the currency."},
		},
	}
}

func plainText(description string) map[string]any {
	return map[string]any{"type": "string", "description": description}
}

func moment(description string) map[string]any {
	return map[string]any{"type": "string", "format": "date-time", "description": description}
}

// words are the comments of types (`Lot`) and of their fields (`Lot.Credits`).
type words map[string]string

// readWords reads the comments of a package's types.
func readWords(t *testing.T, folder string) words {
	t.Helper()
	found := words{}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				found.add(d)
			}
		}
	}
	return found
}

func (w words) add(d *ast.GenDecl) {
	plain := func(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
	for _, s := range d.Specs {
		named := s.(*ast.TypeSpec)
		w[named.Name.Name] = plain(d.Doc)
		of, ok := named.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range of.Fields.List {
			for _, name := range field.Names {
				w[named.Name.Name+"."+name.Name] = strings.TrimSpace(plain(field.Doc) + " " + plain(field.Comment))
			}
		}
	}
}

// describe gives a field its comment, and says whether it is always there.
func (w words) describe(p jsonschema.InterceptPropParams) error {
	if !p.Processed || p.ParentSchema == nil {
		return nil
	}
	if of := p.ParentSchema.ReflectType; of != nil {
		for of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if comment := w[of.Name()+"."+p.Field.Name]; comment != "" && p.PropertySchema.Ref == nil {
			p.PropertySchema.WithDescription(comment)
		}
	}
	optional := strings.Contains(p.Field.Tag.Get("json"), ",omit")
	if !optional && !slices.Contains(p.ParentSchema.Required, p.Name) {
		p.ParentSchema.Required = append(p.ParentSchema.Required, p.Name)
	}
	return nil
}

// The schemas are made from Go types, the bodies by the codec: they must say the same.
func TestSchemasDescribeWhatTheLogHolds(t *testing.T) {
	for _, typ := range events.Types() {
		t.Run(typ.Name, func(t *testing.T) {
			var schema struct {
				Required   []string                   `json:"required"`
				Properties map[string]json.RawMessage `json:"properties"`
			}
			readJSON(t, filepath.Join(docsFolder, "events", typ.Name+".json"), &schema)
			var body map[string]json.RawMessage
			readJSON(t, fmt.Sprintf("../../events/testdata/golden/%s.%d.json", typ.Name, typ.Schema), &body)
			fits(t, body, schema.Properties, schema.Required)

			if err := json.Unmarshal(schema.Properties["data"], &schema); err != nil {
				t.Fatal(err)
			}
			var data map[string]json.RawMessage
			if err := json.Unmarshal(body["data"], &data); err != nil {
				t.Fatal(err)
			}
			fits(t, data, schema.Properties, schema.Required)
		})
	}
}

// fits demands that a body has all members that are required, and none that is unknown.
func fits(t *testing.T, body, properties map[string]json.RawMessage, required []string) {
	t.Helper()
	for name := range body {
		if properties[name] == nil {
			t.Errorf("the schema does not know %q", name)
		}
	}
	for _, name := range required {
		if body[name] == nil {
			t.Errorf("the schema requires %q, which the log's body lacks", name)
		}
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

package http

import (
	"context"
	"strings"
	"testing"
	"time"

	"truebond/commands"
	"truebond/events"
	"truebond/queries"
)

// described is the document of a table, as a client reads it.
func described(t *testing.T, routes []Route) map[string]any {
	t.Helper()
	b := serving(t, routes, func(cfg *Config) { cfg.Backend, cfg.Version = "https://api.example/", "1.2.3" })
	a := b.send("GET", "/openapi.json", "")
	a.wants(t, 200, "")
	if a.header.Get("Content-Type") != jsonType {
		t.Errorf("the document is %s", a.header.Get("Content-Type"))
	}
	return a.json(t)
}

// within finds a value by the names that lead to it.
func within(t *testing.T, value any, names ...string) any {
	t.Helper()
	for i, name := range names {
		members, ok := value.(map[string]any)
		if !ok || members[name] == nil {
			t.Fatalf("there is no %s in %s", name, strings.Join(names[:i], " › "))
		}
		value = members[name]
	}
	return value
}

// The product's own table is described whole, and every reference in it leads somewhere.
func TestTheDocumentDescribesEveryRoute(t *testing.T) {
	routes := Routes(&commands.Service{}, &queries.Service{}, noOperator{})
	doc := described(t, routes)
	if version, _ := doc["openapi"].(string); !strings.HasPrefix(version, "3.1") {
		t.Errorf("the document is OpenAPI %v", doc["openapi"])
	}
	for i := range routes {
		r := &routes[i]
		paths := within(t, doc, "paths").(map[string]any)
		op := within(t, paths, r.openAPIPath(), strings.ToLower(r.method))
		within(t, op, "summary")
		within(t, op, "operationId")
		within(t, op, "responses", "default", "content", problemType, "schema")
		within(t, op, "responses", map[bool]string{true: "201", false: "200"}[r.created], "content")
		if guarded := op.(map[string]any)["security"] != nil; guarded == r.open {
			t.Errorf("%s: security is %v", r.key(), op.(map[string]any)["security"])
		}
		for _, name := range pathParams(r.path) {
			if parameter(op, name)["required"] != true {
				t.Errorf("%s: the parameter %s is not described", r.key(), name)
			}
		}
	}
	referencesLead(t, doc, doc)
}

func parameter(op any, name string) map[string]any {
	all, _ := op.(map[string]any)["parameters"].([]any)
	for _, p := range all {
		if p := p.(map[string]any); p["name"] == name {
			return p
		}
	}
	return nil
}

func referencesLead(t *testing.T, doc, value any) {
	switch v := value.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			within(t, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		for _, inner := range v {
			referencesLead(t, doc, inner)
		}
	case []any:
		for _, inner := range v {
			referencesLead(t, doc, inner)
		}
	}
}

type noOperator struct{}

func (noOperator) Rebuild(context.Context, []string, func(string, uint64, uint64)) error { return nil }
func (noOperator) Compare(context.Context, []string, func(CompareLine)) error            { return nil }
func (noOperator) Follow(context.Context, uint64, func(events.Record) error) error       { return nil }
func (noOperator) Archive(context.Context) (Archived, error)                             { return Archived{}, nil }
func (noOperator) TestClock() bool                                                       { return true }
func (noOperator) Advance(context.Context, time.Duration) (time.Time, error) {
	return time.Time{}, nil
}

func TestTheDocumentSaysWhatALineSays(t *testing.T) {
	type page[T any] struct {
		Data []T `json:"data"`
	}
	lines := func(context.Context, search) (page[note], error) { return page[note]{}, nil }
	doc := described(t, []Route{
		post("/notes", writeNote, "Write a note", user, once, created, limit(5, perMinute)),
		post("/deduct", writeNote, "Charge", app("credits:deduct")),
		post("/login", writeNote, "Log in", public, keyless),
		get("/things/{id}", lines, "Search", admin, finance),
		post("/hook", func(context.Context, struct {
			Body []byte `body:"raw"`
		}) (nothing, error) {
			return nothing{}, nil
		}, "Take", public, rawBody),
	})
	write := within(t, doc, "paths", "/notes", "post")
	if key := parameter(write, headerIdempotencyKey); key["required"] != true || key["in"] != "header" {
		t.Errorf("the key is %v", key)
	}
	key := parameter(within(t, doc, "paths", "/deduct", "post"), headerIdempotencyKey)
	if key == nil || key["required"] == true {
		t.Errorf("the key of a command that needs none is %v", key)
	}
	if key := parameter(within(t, doc, "paths", "/login", "post"), headerIdempotencyKey); key != nil {
		t.Errorf("the key of a command that is done each time is %v", key)
	}
	within(t, write, "responses", "201", "headers", headerPosition)
	within(t, write, "responses", "201", "headers", headerReplayed)
	within(t, write, "responses", "429")
	within(t, write, "x-rate-limit", "requests")
	in := within(t, doc, "components", "schemas", "Note").(map[string]any)
	if in["additionalProperties"] != false || len(in["required"].([]any)) != 2 {
		t.Errorf("the request is %v", in)
	}
	security := within(t, doc, "paths", "/deduct", "post", "security").([]any)
	if len(security) != 1 || security[0].(map[string]any)[schemeAPIKey] == nil {
		t.Errorf("the charge is guarded by %v", security)
	}
	read := within(t, doc, "paths", "/things/{id}", "get")
	if parameter(read, "limit")["in"] != "query" || parameter(read, "id")["in"] != "path" ||
		parameter(read, headerPosition)["in"] != "header" || parameter(read, "X-Asked")["in"] != "header" {
		t.Errorf("a read is %v", read)
	}
	within(t, doc, "paths", "/hook", "post", "requestBody", "content", jsonType)
	within(t, doc, "components", "securitySchemes", schemeToken)
	within(t, doc, "components", "schemas", "Problem", "properties", "request_id")
	if url := within(t, doc, "servers").([]any)[0].(map[string]any)["url"]; url != "https://api.example" {
		t.Errorf("the server is %v", url)
	}
}

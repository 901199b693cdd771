package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"truebond/projections"
)

// Suite is what every projections.Store keeps to. place makes a place for documents
// that is empty and goes with the test, and tells how to open it: any number of stores
// at a time, as several processes do. The suite closes what it opens.
func Suite(t *testing.T, place func(t testing.TB) (open func() (projections.Store, error))) {
	for _, rules := range [][]rule{tableRules, writeRules, valueRules, queryRules, togetherRules} {
		for _, r := range rules {
			t.Run(r.name, func(t *testing.T) {
				w := &world{T: t, ctx: t.Context(), reopen: place(t)}
				w.store = w.open()
				r.check(w)
			})
		}
	}
}

// A rule is something that holds for every store.
type rule struct {
	name  string
	check func(*world)
}

// A world is a store on an empty place, and words to write rules with.
type world struct {
	*testing.T
	ctx    context.Context
	store  projections.Store
	reopen func() (projections.Store, error)
}

// open opens the place once more.
func (w *world) open() projections.Store {
	w.Helper()
	s, err := w.reopen()
	if err != nil {
		w.Fatalf("open the store: %v", err)
	}
	w.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			w.Errorf("close the store: %v", err)
		}
	})
	return s
}

// on is the same place seen through another store.
func (w *world) on(s projections.Store) *world {
	return &world{T: w.T, ctx: w.ctx, store: s, reopen: w.reopen}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// table makes a table of the view `things` and gives its name.
func (w *world) table(build int, indexes ...projections.Index) string {
	w.Helper()
	name := fmt.Sprintf("things_1_%d", build)
	w.must(w.store.Create(w.ctx, projections.Table{Name: name, View: "things", Version: 1, Indexes: indexes}))
	return name
}

// progress is how far a table is.
func (w *world) progress(table string) projections.Progress {
	w.Helper()
	all, err := w.store.Tables(w.ctx)
	w.must(err)
	for _, p := range all {
		if p.Name == table {
			return p
		}
	}
	w.Fatalf("there is no table %s among %v", table, all)
	return projections.Progress{}
}

// names are the tables that there are.
func (w *world) names() []string {
	w.Helper()
	all, err := w.store.Tables(w.ctx)
	w.must(err)
	names := []string{}
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}

// A change puts a document, or deletes it when it has no body.
type change struct{ id, body string }

// batch is the next event's changes to a table.
func (w *world) batch(table string, changes ...change) projections.Batch {
	w.Helper()
	from := w.progress(table).Position
	b := projections.Batch{Tables: []string{table}, From: from, To: from + 1, Hash: hash(from + 1)}
	for _, c := range changes {
		d := projections.Document{ID: c.id, Position: from + 1}
		if c.body != "" {
			d.Body = []byte(c.body)
		}
		b.Writes = append(b.Writes, projections.Write{Table: table, Document: d})
	}
	return b
}

// write stores the next event's changes to a table.
func (w *world) write(table string, changes ...change) {
	w.Helper()
	w.must(w.store.Write(w.ctx, w.batch(table, changes...)))
}

func hash(position uint64) []byte {
	return fmt.Appendf(nil, "%032d", position)
}

// get is the JSON of a document; empty if there is none.
func (w *world) get(table, id string) string {
	w.Helper()
	docs, err := w.store.Get(w.ctx, table, []string{id})
	w.must(err)
	switch {
	case len(docs) == 0:
		return ""
	case len(docs) > 1 || docs[0].ID != id:
		w.Fatalf("asked for document %q and got %v", id, docs)
	}
	return string(docs[0].Body)
}

// find are the ids of the documents that a query finds.
func (w *world) find(table string, q projections.Query) []string {
	w.Helper()
	return ids(w.docs(table, q))
}

// by is the query for values of an index.
func by(index string, values ...any) projections.Query {
	return projections.Query{Index: index, Equal: values}
}

func (w *world) docs(table string, q projections.Query) []projections.Document {
	w.Helper()
	if q.Limit == 0 {
		q.Limit = projections.PageMax
	}
	docs, err := w.store.Find(w.ctx, table, q)
	w.must(err)
	return docs
}

func ids(docs []projections.Document) []string {
	found := []string{}
	for _, d := range docs {
		found = append(found, d.ID)
	}
	return found
}

// is compares two values.
func (w *world) is(what string, got, want any) {
	w.Helper()
	if !reflect.DeepEqual(got, want) {
		w.Fatalf("%s is\n%v, not\n%v", what, got, want)
	}
}

// isJSON compares two JSON texts by what they say.
func (w *world) isJSON(what, got, want string) {
	w.Helper()
	if got == want {
		return
	}
	if g, v := w.parse(got), w.parse(want); !reflect.DeepEqual(g, v) {
		w.Fatalf("%s is\n%.500s, not\n%.500s", what, got, want)
	}
}

// parse reads JSON; whole numbers as int64, others as float64.
func (w *world) parse(text string) any {
	w.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		w.Fatalf("this is not JSON: %.500s: %v", text, err)
	}
	return numbers(v)
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		const exactMax = 1 << 53
		if err == nil && f == float64(int64(f)) && f < exactMax && f > -exactMax {
			return int64(f) // 1.0 is 1
		}
		return f
	}
	return v
}

package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"truebond/projections"
)

var queryRules = []rule{
	{"queries that do not fit are refused", badQueries},
	{"a page ends at its limit, and a cursor goes on behind it", cursors},
	{"many equal values page well, both ways", ties},
	{"a document without a field of an index is left out", leftOut},
	{"an array's document is found by each element, once", elements},
	{"a range takes its beginning and leaves its end, and holds with a cursor outside of it", ranges},
	{"all that queries find is what a plain search finds", likePlainSearch},
}

// pages is what a query finds, page by page, with cursors as a client sends them back.
func (w *world) pages(table string, q projections.Query) []string {
	w.Helper()
	var index projections.Index
	for _, x := range w.progress(table).Indexes {
		if x.Name == q.Index {
			index = x
		}
	}
	found := []string{}
	for {
		page, err := w.store.Find(w.ctx, table, q)
		w.must(err)
		found = append(found, ids(page)...)
		if len(page) > q.Limit {
			w.Fatalf("%d documents were asked for, and there came %d", q.Limit, len(page))
		}
		if len(page) < q.Limit {
			return found
		}
		sent, err := json.Marshal(w.cursorAt(index, q, page[len(page)-1]))
		w.must(err)
		q.After = nil
		w.must(json.Unmarshal(sent, &q.After))
	}
}

// cursorAt is where a page ends whose last document is d, found by q in this index.
func (w *world) cursorAt(x projections.Index, q projections.Query, d projections.Document) projections.Cursor {
	w.Helper()
	var fields map[string]json.RawMessage
	w.must(json.Unmarshal(d.Body, &fields))
	c := projections.Cursor{ID: d.ID}
	for _, name := range x.Fields[len(q.Equal):] {
		c.Values = append(c.Values, fields[name])
	}
	return c
}

func badQueries(w *world) {
	table := w.table(1, projections.Index{Name: "name", Fields: []string{"name", "n"}}, byTag)
	after := func(values ...any) *projections.Cursor { return &projections.Cursor{Values: values, ID: "a"} }
	for name, q := range map[string]projections.Query{
		"no limit":             {},
		"a limit below 0":      {Limit: -1},
		"too many":             {Limit: projections.PageMax + 1},
		"values without index": {Limit: 1, Equal: []any{"a"}},
		"too many values":      {Limit: 1, Index: "name", Equal: []any{"a", int64(1), "a"}},
		"no element":           {Limit: 1, Index: "tag"},
		"a document as value":  {Limit: 1, Index: "name", Equal: []any{map[string]any{"$ne": nil}}},
		"a null":               {Limit: 1, Index: "name", Equal: []any{nil}},
		"a float":              {Limit: 1, Index: "name", Equal: []any{1.5}},
		"a small integer":      {Limit: 1, Index: "name", Equal: []any{1}},
		"a list as bound":      {Limit: 1, Index: "name", Range: projections.Range{From: []any{"a"}}},
		"a number for ids":     {Limit: 1, Range: projections.Range{From: int64(1)}},
		"a number for ids, too": {
			Limit: 1, Index: "tag", Equal: []any{"a"}, Range: projections.Range{Until: int64(1)},
		},
		"a cursor too short":    {Limit: 1, Index: "name", After: after("a")},
		"a cursor too long":     {Limit: 1, Index: "name", Equal: []any{"a"}, After: after("a", int64(1))},
		"a cursor for an index": {Limit: 1, After: after("a")},
		"an object in a cursor": {Limit: 1, Index: "name", Equal: []any{"a"}, After: after(map[string]any{})},
	} {
		if _, err := w.store.Find(w.ctx, table, q); !errors.Is(err, projections.ErrBadQuery) {
			w.Errorf("a query with %s: %v", name, err)
		}
	}
	for _, index := range []string{"never", `name" --`} {
		_, err := w.store.Find(w.ctx, table, projections.Query{Limit: 1, Index: index})
		if !errors.Is(err, projections.ErrNoIndex) {
			w.Errorf("a query by index %q: %v", index, err)
		}
	}
	var c projections.Cursor
	for _, sent := range []string{
		`{"v":[1.5],"id":"a"}`, `{"v":[9223372036854775808],"id":"a"}`, `{"x":1}`, `[]`,
	} {
		if err := json.Unmarshal([]byte(sent), &c); err == nil {
			w.Errorf("this was taken for a cursor: %s", sent)
		}
	}
}

func cursors(w *world) {
	table := w.table(1, projections.Index{Name: "name", Fields: []string{"name", "n"}})
	w.write(table, change{"a", `{"name":"x","n":2}`}, change{"b", `{"name":"x","n":1}`},
		change{"c", `{"name":"x","n":1}`}, change{"d", `{"name":"y","n":0}`})
	all := projections.Query{Index: "name", Limit: 2}
	w.is("the first page", w.find(table, all), []string{"b", "c"})
	all.After = &projections.Cursor{Values: []any{"x", int64(1)}, ID: "c"}
	w.is("the next page", w.find(table, all), []string{"a", "d"})
	all.After = &projections.Cursor{Values: []any{"x", int64(1)}, ID: "bb"} // of a document that is gone
	w.is("behind a document that is gone", w.find(table, all), []string{"c", "a"})
	all.Desc = true
	w.is("before it", w.find(table, all), []string{"b"})
	all.After = nil
	w.is("the last page", w.find(table, all), []string{"d", "a"})
	byID := projections.Query{Limit: 2, After: &projections.Cursor{ID: "b"}}
	w.is("behind an id", w.find(table, byID), []string{"c", "d"})
	byID.Desc = true
	w.is("before an id", w.find(table, byID), []string{"a"})
}

func ties(w *world) {
	const documents = 300
	table := w.table(1, projections.Index{Name: "name", Fields: []string{"name", "n"}}, byTagAge)
	var changes []change
	var wanted []string
	for i := range documents {
		wanted = append(wanted, fmt.Sprintf("%03d", i))
		body := fmt.Sprintf(`{"name":"x","n":%d,"tags":["t","u"],"age":7}`, i/100)
		changes = append(changes, change{wanted[i], body})
	}
	slices.Reverse(changes)
	w.write(table, changes...)
	for _, q := range []projections.Query{
		{Limit: 7}, {Index: "name", Limit: 7}, {Index: "name", Equal: []any{"x"}, Limit: 100},
		{Index: "tag_age", Equal: []any{"u"}, Limit: 7},
		{Index: "tag_age", Equal: []any{"u", int64(7)}, Limit: 99},
	} {
		w.is("all, page by page", w.pages(table, q), wanted)
		q.Desc = true
		w.is("all, page by page, back", w.pages(table, q), reversed(wanted))
	}
	one := projections.Query{Index: "name", Equal: []any{"x", int64(1)}, Limit: 9}
	w.is("one value's, page by page", w.pages(table, one), wanted[100:200])
}

func leftOut(w *world) {
	table := w.table(1, projections.Index{Name: "both", Fields: []string{"a", "b"}},
		projections.Index{Name: "one", Fields: []string{"b"}}, byTagAge)
	w.write(table,
		change{"whole", `{"a":"x","b":"x","tags":["x"],"age":1}`}, change{"no a", `{"b":"x","tags":["x"]}`},
		change{"no b", `{"a":"x","age":1}`}, change{"null b", `{"a":"x","b":null,"tags":null,"age":1}`},
		change{"null a", `{"a":null,"b":"x","tags":[null],"age":1}`}, change{"nothing", `{}`},
		change{"empty", `{"a":"","b":"","tags":[""],"age":1}`}, change{"inner", `{"c":{"a":"x","b":"x"}}`})
	both := projections.Query{Index: "both"}
	w.is("all that have both", w.find(table, both), []string{"empty", "whole"})
	both.Desc = true
	w.is("all that have both, back", w.find(table, both), []string{"whole", "empty"})
	both.Equal = []any{"x"}
	w.is("those that have both, of one value", w.find(table, both), []string{"whole"})
	both.Desc = false
	w.is("those that have both, of one value", w.find(table, both), []string{"whole"})
	one := projections.Query{Index: "one"}
	w.is("all that have one", w.find(table, one), []string{"empty", "no a", "null a", "whole"})
	one.Range = projections.Range{Until: "z"}
	w.is("all below a value", w.find(table, one), []string{"empty", "no a", "null a", "whole"})
	w.is("by element", w.find(table, by("tag_age", "x")), []string{"whole"})
	w.is("by no text", w.find(table, by("tag_age", "")), []string{"empty"})
}

func elements(w *world) {
	table := w.table(1, byTag, projections.Index{Name: "number", Fields: []string{"numbers"}, Each: true})
	w.write(table, change{"a", `{"tags":["x","y","x","x"],"numbers":[1,9007199254740993]}`},
		change{"b", `{"tags":["xy","X"],"numbers":[9007199254740992]}`},
		change{"c", `{"tags":["y",["x"],{"x":"x"}]}`})
	for tag, wanted := range map[string][]string{
		"x": {"a"}, "y": {"a", "c"}, "X": {"b"}, "xy": {"b"}, `["x"]`: {}, `{"x":"x"}`: {},
	} {
		w.is("found by "+tag, w.find(table, by("tag", tag)), wanted)
		back := projections.Query{Index: "tag", Equal: []any{tag}, Desc: true}
		w.is("found by "+tag+", back", w.find(table, back), reversed(wanted))
		back.Limit = 1
		w.is("found by "+tag+", one by one", w.pages(table, back), reversed(wanted))
	}
	const beyond = 1<<53 + 1
	w.is("found by a number", w.find(table, by("number", int64(beyond))), []string{"a"})
	some := projections.Query{Index: "tag", Equal: []any{"y"}, Range: projections.Range{From: "b"}}
	w.is("those from an id on", w.find(table, some), []string{"c"})
}

func ranges(w *world) {
	table := w.table(1, projections.Index{Name: "n", Fields: []string{"n"}})
	w.write(table, change{"a", `{"n":1}`}, change{"b", `{"n":2}`}, change{"c", `{"n":2}`},
		change{"d", `{"n":3}`}, change{"e", `{"n":4}`})
	middle := projections.Query{Index: "n", Range: projections.Range{From: int64(2), Until: int64(4)}, Limit: 10}
	behind := func(n int64, id string) *projections.Cursor {
		return &projections.Cursor{Values: []any{n}, ID: id}
	}
	for _, c := range []struct {
		after    *projections.Cursor
		up, back []string
	}{
		{nil, []string{"b", "c", "d"}, []string{"d", "c", "b"}},
		{behind(2, "b"), []string{"c", "d"}, []string{}},
		{behind(3, "d"), []string{}, []string{"c", "b"}},
		{behind(0, "z"), []string{"b", "c", "d"}, []string{}},
		{behind(9, "a"), []string{}, []string{"d", "c", "b"}},
	} {
		middle.After, middle.Desc = c.after, false
		w.is(fmt.Sprintf("the range behind %v", c.after), w.find(table, middle), c.up)
		middle.Desc = true
		w.is(fmt.Sprintf("the range before %v", c.after), w.find(table, middle), c.back)
	}
	none := projections.Query{Index: "n", Range: projections.Range{From: int64(3), Until: int64(3)}}
	w.is("an empty range", w.find(table, none), []string{})
	none.Range = projections.Range{From: int64(4), Until: int64(1)}
	w.is("a range turned round", w.find(table, none), []string{})
	byID := by("n", int64(2))
	byID.Range = projections.Range{From: "c", Until: "d"}
	w.is("a range of ids of one value", w.find(table, byID), []string{"c"})
}

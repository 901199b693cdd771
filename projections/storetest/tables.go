package storetest

import (
	"errors"
	"strings"

	"truebond/projections"
)

var (
	byName   = projections.Index{Name: "name", Fields: []string{"name"}}
	byTag    = projections.Index{Name: "tag", Fields: []string{"tags"}, Each: true}
	byTagAge = projections.Index{Name: "tag_age", Fields: []string{"tags", "age"}, Each: true}
)

var tableRules = []rule{
	{"a new table is empty, at 0 and not live", aNewTable},
	{"creating a table again keeps it and adds the indexes that it lacks", createAgain},
	{"an index with other fields under a known name is refused", anotherIndex},
	{"what cannot be a table is refused", badTables},
	{"going live swaps a view's tables and drops the old one", goLive},
	{"a dropped table is gone, and may be made anew", dropTable},
	{"a table that is not there is an error, also when it was there a moment ago", noTable},
	{"a table and an index that another process has made anew are noticed", madeAnew},
	{"what was written is there after opening again", openAgain},
	{"a store that was closed tells so", closed},
}

func aNewTable(w *world) {
	second := w.table(2, byName)
	first := w.table(1)
	w.is("the list of tables", w.names(), []string{first, second})
	w.is("the new table", w.progress(second), projections.Progress{Table: projections.Table{
		Name: second, View: "things", Version: 1, Indexes: []projections.Index{byName},
	}})
	w.is("what is in it", w.find(second, projections.Query{}), []string{})
	w.is("a document in it", w.get(second, "a"), "")
	w.must(w.store.Ping(w.ctx))
}

func createAgain(w *world) {
	table := w.table(1, byName)
	w.write(table, change{"a", `{"name":"x","tags":["t","u"],"age":1}`}, change{"b", `{"name":"x"}`})
	w.is("found by the index", w.find(table, by("name", "x")), []string{"a", "b"})
	w.table(1, byName, byTag, byTagAge)
	w.is("the position", w.progress(table).Position, uint64(1))
	w.is("the indexes", w.progress(table).Indexes, []projections.Index{byName, byTag, byTagAge})
	w.is("found by a new index", w.find(table, by("tag", "u")), []string{"a"})
	w.table(1, byTag)
	w.is("the indexes", w.progress(table).Indexes, []projections.Index{byName, byTag, byTagAge})
	w.write(table, change{"b", `{"name":"x","tags":["u"],"age":0}`})
	byAge := by("tag_age", "u")
	w.is("found by a new index", w.find(table, byAge), []string{"b", "a"})
}

func anotherIndex(w *world) {
	w.table(1, byName)
	for _, x := range []projections.Index{
		{Name: "name", Fields: []string{"other"}},
		{Name: "name", Fields: []string{"name", "age"}},
		{Name: "name", Fields: []string{"name"}, Each: true},
	} {
		t := projections.Table{Name: "things_1_1", View: "things", Version: 1, Indexes: []projections.Index{x}}
		if w.store.Create(w.ctx, t) == nil {
			w.Errorf("index %v was taken for %v", x, byName)
		}
	}
}

func badTables(w *world) {
	table := func(name string, indexes ...projections.Index) projections.Table {
		return projections.Table{Name: name, View: "things", Version: 1, Indexes: indexes}
	}
	for _, t := range []projections.Table{
		table(""), table("A"), table("a-b"), table("a.b"), table("$a"), table("1a"), table("é"), table("a b"),
		table(`a"; DROP TABLE tables; --`), table("a\x00b"), table("a\n"), table(strings.Repeat("a", 64)),
		{Name: "a", Version: 1},
		table("a", projections.Index{Name: "", Fields: []string{"f"}}),
		table("a", projections.Index{Name: "x"}),
		table("a", projections.Index{Name: `x"`, Fields: []string{"f"}}),
		table("a", projections.Index{Name: "x", Fields: []string{"f'"}}),
		table("a", projections.Index{Name: "x", Fields: []string{"f.g"}}),
		table("a", projections.Index{Name: "x", Fields: []string{"$f"}}),
		table("a", projections.Index{Name: "x", Fields: []string{"f", "f"}}),
		table("a", byName, byName),
	} {
		if w.store.Create(w.ctx, t) == nil {
			w.Errorf("this was taken for a table: %+v", t)
		}
	}
	w.is("the list of tables", w.names(), []string{})
}

func goLive(w *world) {
	first, second := w.table(1, byTag), w.table(2, byTag)
	other := projections.Table{Name: "others_1_1", View: "others", Version: 1}
	w.must(w.store.Create(w.ctx, other))
	w.must(w.store.GoLive(w.ctx, first))
	w.must(w.store.GoLive(w.ctx, other.Name))
	w.write(first, change{"a", `{"tags":["old"]}`})
	w.write(second, change{"a", `{"tags":["new"]}`})
	w.is("the first is live", w.progress(first).Live, true)
	w.is("the second is live", w.progress(second).Live, false)
	w.must(w.store.GoLive(w.ctx, second))
	w.is("the list of tables", w.names(), []string{other.Name, second})
	w.is("the second is live", w.progress(second).Live, true)
	w.is("the other view's is live", w.progress(other.Name).Live, true)
	w.is("the second's position", w.progress(second).Position, uint64(1))
	w.must(w.store.GoLive(w.ctx, second)) // again: nothing happens
	w.isJSON("the document", w.get(second, "a"), `{"tags":["new"]}`)
}

func dropTable(w *world) {
	table := w.table(1, byName, byTag)
	kept := w.table(2, byName, byTag)
	doc := change{"a", `{"name":"x","tags":["t"]}`}
	w.write(table, doc)
	w.write(kept, doc)
	w.must(w.store.Drop(w.ctx, table))
	w.must(w.store.Drop(w.ctx, table))
	w.must(w.store.Drop(w.ctx, "never_1_1"))
	w.is("the list of tables", w.names(), []string{kept})
	w.is("the table made anew", w.table(1, byTag, byName), table)
	w.is("its position", w.progress(table).Position, uint64(0))
	w.is("a document of before", w.get(table, "a"), "")
	w.is("found in it", w.find(table, by("tag", "t")), []string{})
	w.is("found beside it", w.find(kept, by("tag", "t")), []string{"a"})
	w.write(table, change{"b", `{"name":"x","tags":["t"]}`})
	w.is("found in it", w.find(table, by("name", "x")), []string{"b"})
}

func noTable(w *world) {
	table := w.table(1, byName)
	w.write(table, change{"a", `{"name":"x"}`})
	other := w.on(w.open())
	byX := projections.Query{Index: "name", Equal: []any{"x"}, Limit: 10}
	for _, each := range []*world{w, other} { // both have read it, and may remember it
		w.is("a document", each.get(table, "a") != "", true)
		w.is("found", each.find(table, byX), []string{"a"})
		each.write(table)
	}
	batch := w.batch(table, change{"b", `{"name":"x"}`})
	w.must(w.store.Drop(w.ctx, table))
	for _, s := range []projections.Store{other.store, w.store} {
		for _, name := range []string{table, "never_1_1", `x"'`, ""} {
			_, got := s.Get(w.ctx, name, []string{"a"})
			_, gotNothing := s.Get(w.ctx, name, nil)
			_, found := s.Find(w.ctx, name, byX)
			_, listed := s.Find(w.ctx, name, projections.Query{Limit: 1})
			batch.Tables = []string{name}
			batch.Writes[0].Table = name
			wrote := s.Write(w.ctx, batch)
			for what, err := range map[string]error{
				"get": got, "get nothing": gotNothing, "find": found, "list": listed,
				"write": wrote, "go live": s.GoLive(w.ctx, name),
			} {
				if !errors.Is(err, projections.ErrNoTable) {
					w.Errorf("%s in table %q: %v", what, name, err)
				}
			}
		}
	}
	w.is("the list of tables", w.names(), []string{})
}

func madeAnew(w *world) {
	table := w.table(1, byTag)
	w.write(table, change{"a", `{"name":"x","tags":["t"]}`})
	other := w.on(w.open())
	tagged, named := by("tag", "t"), projections.Query{Index: "name"}
	w.is("found", other.find(table, tagged), []string{"a"})
	w.table(1, byName)
	w.is("found by the new index", other.find(table, named), []string{"a"})
	other.write(table, change{"b", `{"name":"y","tags":["t"]}`})

	w.must(w.store.Drop(w.ctx, table))
	w.table(1, byName, byTag)
	w.is("found in the new table", other.find(table, tagged), []string{})
	w.is("a document of the old one", other.get(table, "a"), "")
	other.write(table, change{"c", `{"name":"z","tags":["t"]}`})
	w.is("found in the new table", w.find(table, tagged), []string{"c"})
	w.must(w.store.Drop(w.ctx, table))
	w.table(1, byName, byTag)
	other.write(table, change{"d", `{"name":"z","tags":["t"]}`}) // before anything was read
	w.is("found in the newest", w.find(table, named), []string{"d"})
	w.is("found in the newest", other.find(table, named), []string{"d"})
}

func openAgain(w *world) {
	table, gone := w.table(1, byName, byTag), w.table(2)
	w.must(w.store.GoLive(w.ctx, table))
	w.write(table, change{"a", `{"name":"x","tags":["t"]}`}, change{"b", `{"name":"y"}`})
	w.write(table, change{"b", ""})
	w.must(w.store.Drop(w.ctx, gone))
	before := w.progress(table)

	again, err := w.reopen()
	w.must(err)
	w.must(again.Close(w.ctx))
	later := w.on(w.open())
	w.is("the progress", later.progress(table), before)
	w.is("the hash", later.progress(table).Hash, hash(2))
	w.is("the list of tables", later.names(), []string{table})
	w.is("all documents", later.find(table, projections.Query{}), []string{"a"})
	w.is("found", later.find(table, by("tag", "t")), []string{"a"})
	later.write(table, change{"c", `{"name":"z"}`})
	w.is("all documents", w.find(table, projections.Query{}), []string{"a", "c"})
}

func closed(w *world) {
	table := w.table(1)
	s, err := w.reopen()
	w.must(err)
	w.must(s.Close(w.ctx))
	if s.Ping(w.ctx) == nil {
		w.Error("a closed store answers")
	}
	if _, err := s.Get(w.ctx, table, []string{"a"}); err == nil || errors.Is(err, projections.ErrNoTable) {
		w.Errorf("a closed store says: %v", err)
	}
}

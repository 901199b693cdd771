package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"truebond/projections"
)

func TestAFileOfAnotherLayoutAndOneThatIsNoDatabaseAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "views.db")
	store := openAt(t, path)
	if _, err := store.writer.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "layout 99") {
		t.Errorf("a file of another layout is opened with: %v", err)
	}
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte(strings.Repeat("words ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{words, filepath.Join(t.TempDir(), "missing", "views.db"), t.TempDir()} {
		if _, err := Open(path); err == nil {
			t.Errorf("%s is opened", path)
		}
	}
}

// Every query searches its index from the right place on, in order.
func TestQueriesReadTheirIndexInOrder(t *testing.T) {
	store := openAt(t, filepath.Join(t.TempDir(), "views.db"))
	pair := projections.Index{Name: "pair", Fields: []string{"a", "b"}}
	list := projections.Index{Name: "list", Fields: []string{"list", "b"}, Each: true}
	table := projections.Table{
		Name: "things_1_1", View: "things", Version: 1, Indexes: []projections.Index{pair, list},
	}
	if err := store.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	after := func(values ...any) *projections.Cursor { return &projections.Cursor{Values: values, ID: "x"} }
	between := projections.Range{From: "a", Until: "z"}
	for _, c := range []struct {
		index projections.Index
		query projections.Query
		plan  string // what it says behind the index's name
	}{
		{projections.Index{}, projections.Query{}, "SCAN doc USING INDEX sqlite_autoindex"},
		{projections.Index{}, projections.Query{After: after()}, "(id>?)"},
		{pair, projections.Query{}, `index.things_1_1.pair (field.a>?)`},
		{pair, projections.Query{Equal: []any{"x"}}, `index.things_1_1.pair (field.a=? AND field.b>?)`},
		{pair, projections.Query{After: after("x", "y")}, `(field.a,field.b,id)>(?,?,?))`},
		{pair, projections.Query{Equal: []any{"x"}, After: after("y")}, `(field.b,id)>(?,?)`},
		{pair, projections.Query{Equal: []any{"x"}, After: after("y"), Range: between}, `(field.b,id)>(?,?)`},
		{pair, projections.Query{Equal: []any{"x", "y"}, After: after()}, `(field.a=? AND field.b=? AND id>?)`},
		{pair, projections.Query{Equal: []any{"x"}, Range: between}, `(field.a=? AND field.b>? AND field.b<?)`},
		{list, projections.Query{Equal: []any{"x"}}, `SEARCH entry USING PRIMARY KEY (field.list=?)`},
		{list, projections.Query{Equal: []any{"x"}, After: after("y")}, `(field.list=? AND (field.b,id)>(?,?))`},
	} {
		for _, c.query.Desc = range []bool{false, true} {
			if c.query.Desc && c.query.After != nil {
				c.plan = strings.Replace(c.plan, ")>(", ")<(", 1)
				c.plan = strings.Replace(c.plan, "id>", "id<", 1)
			}
			c.query.Index, c.query.Limit = c.index.Name, 10
			text, args := findQuery(table.Name, c.index, c.query)
			got := plan(t, store, text, args)
			if !strings.Contains(got, c.plan) || strings.Contains(got, "TEMP B-TREE") {
				t.Errorf("%+v is planned as\n%swithout %s", c.query, got, c.plan)
			}
		}
	}
}

func plan(t *testing.T, store *Store, query string, args []any) string {
	t.Helper()
	rows, err := store.reader.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // Err tells
	var steps strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps.String()
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	store, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return store
}

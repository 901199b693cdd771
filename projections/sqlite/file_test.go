package sqlite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

func TestWhatAStoreHasInMemoryIsTold(t *testing.T) {
	store := openAt(t, filepath.Join(t.TempDir(), "views.db"))
	before, err := store.Cached(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table := projections.Table{Name: "things_1_1", View: "things", Version: 1}
	if err := store.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	const content = 1 << 20
	large := projections.Document{ID: "large", Position: 1, Body: []byte(`{"text":"` + strings.Repeat("x", content) + `"}`)}
	batch := projections.Batch{Tables: []string{table.Name}, To: 1,
		Writes: []projections.Write{{Table: table.Name, Document: large}}}
	if err := store.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	after, err := store.Cached(t.Context())
	if err != nil || after-before < content || after-before > 2*content {
		t.Errorf("after %d bytes were written, %d more are in memory, %v", content, after-before, err)
	}
}

func TestManyOfTheLargestDocumentsAreWritten(t *testing.T) {
	store := openAt(t, filepath.Join(t.TempDir(), "views.db"))
	table := projections.Table{Name: "things_1_1", View: "things", Version: 1, Indexes: []projections.Index{
		{Name: "n", Fields: []string{"a", "n"}}, {Name: "list", Fields: []string{"list", "n"}, Each: true},
	}}
	if err := store.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	const many, elements = 32, 1000
	begin := `{"list":["x"` + strings.Repeat(`,"x"`, elements) + `],"a":"a","n":`
	for from := uint64(0); from < 2*many; from += many {
		batch := projections.Batch{Tables: []string{table.Name}, From: from, To: from + many}
		for i := range uint64(many) {
			body := fmt.Sprint(begin, from+i, `,"text":"`)
			body += strings.Repeat("x", projections.BodyBytesMax-len(body)-2) + `"}`
			batch.Writes = append(batch.Writes, projections.Write{Table: table.Name,
				Document: projections.Document{ID: projections.PositionID(i), Position: from + i + 1, Body: []byte(body)}})
		}
		if err := store.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStoreThatHasNoMemoryLeftDoesNotStandStillInSilence(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "views.db")) // it cannot be closed any more
	if err != nil {
		t.Fatal(err)
	}
	table := projections.Table{Name: "things_1_1", View: "things", Version: 1}
	if err := store.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	const memory = 256 << 20 // of a connection
	if _, err := store.writer.db.Exec(fmt.Sprintf("PRAGMA cache_size = -%d", 2*memory>>10)); err != nil {
		t.Fatal(err)
	}
	const many = memory/projections.BodyBytesMax + 1
	batch := projections.Batch{Tables: []string{table.Name}, To: many}
	body := []byte(`{"text":"` + strings.Repeat("x", projections.BodyBytesMax-20) + `"}`)
	for i := range uint64(many) {
		batch.Writes = append(batch.Writes, projections.Write{Table: table.Name,
			Document: projections.Document{ID: projections.PositionID(i), Position: i + 1, Body: body}})
	}
	said := make(chan any, 2)
	go func() {
		defer func() { said <- recover() }()
		said <- store.Write(t.Context(), batch)
	}()
	select {
	case how := <-said:
		if !strings.Contains(fmt.Sprint(how), "out of memory") {
			t.Errorf("more is written than there is memory, with: %v", how)
		}
	case <-time.After(time.Minute):
		t.Error("it stands still")
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

// Whatever a page holds, what was to be read there is neither missing nor wrong.
func TestADamagedPageIsToldWithFileTableAndBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "views.db")
	store := openAt(t, path)
	byNumber := projections.Index{Name: "number", Fields: []string{"n"}}
	table := projections.Table{Name: "keys_1_1", View: "keys", Version: 1, Indexes: []projections.Index{byNumber}}
	if err := store.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	const things = 500
	batch := projections.Batch{Tables: []string{table.Name}, To: 1, Hash: make([]byte, 32)}
	for i := range things {
		body := fmt.Appendf(nil, `{"n": %d, "words": "%s"}`, i, strings.Repeat("words ", 20))
		batch.Writes = append(batch.Writes, projections.Write{Table: table.Name,
			Document: projections.Document{ID: fmt.Sprint("key-", i), Position: 1, Body: body}})
	}
	if err := store.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := store.writer.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	next := projections.Batch{Tables: batch.Tables, From: 1, To: 2, Hash: batch.Hash}
	for _, w := range batch.Writes {
		w.Position = 2
		next.Writes = append(next.Writes, w)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		damaged := slices.Clone(sound)
		for at := rand.IntN(4096); at < len(damaged); at += 4096 { // in each page but the first two
			if at >= 2*4096 {
				damaged[at] ^= 1 << rand.IntN(8)
			}
		}
		path := filepath.Join(t.TempDir(), "views.db")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := Open(path)
		if err != nil {
			isDamage(t, err, path)
			continue
		}
		_, err = store.Get(t.Context(), table.Name, []string{"key-7"})
		isDamage(t, err, path)
		_, err = store.Find(t.Context(), table.Name, projections.Query{Index: "number", Limit: 5})
		isDamage(t, err, path)
		isDamage(t, store.Write(t.Context(), next), path)
		isDamage(t, store.Ping(t.Context()), path)
		isDamage(t, store.Check(t.Context()), path)
		if err := store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func isDamage(t *testing.T, err error, path string) {
	t.Helper()
	if !errors.Is(err, projections.ErrStoreDamaged) || errors.Is(err, projections.ErrNoTable) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("it is told as: %v", err)
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

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"truebond/cmd/truebond/disktest"
	"truebond/projections"
	"truebond/projections/sqlite/sqlitefile"
)

// Who asks for a document gets it, or is told of the place: it never looks as if there were none.
func TestWhatADiskCannotReadIsDamageAndNoMissingDocument(t *testing.T) {
	const documents = 3000
	table := projections.Table{Name: "keys_1_1", View: "keys", Version: 1,
		Indexes: []projections.Index{{Name: "number", Fields: []string{"n"}}}}
	batch := projections.Batch{Tables: []string{table.Name}, To: 1, Hash: make([]byte, 32)}
	for i := range documents {
		body := fmt.Appendf(nil, `{"n": %d, "words": "%s"}`, i, strings.Repeat("words ", 50))
		batch.Writes = append(batch.Writes, projections.Write{Table: table.Name,
			Document: projections.Document{ID: fmt.Sprint("key-", i), Position: 1, Body: body}})
	}
	sound := filepath.Join(t.TempDir(), "views.db")
	store, err := Open(sound)
	must(t, err)
	must(t, errors.Join(store.Create(t.Context(), table), store.Write(t.Context(), batch), store.Close(t.Context())))
	content, err := os.ReadFile(sound)
	must(t, err)
	for _, percent := range []int{0, 1, 20, 60, 99} {
		t.Run(fmt.Sprintf("from %d%% on", percent), func(t *testing.T) {
			disk := disktest.New(t, 32<<20)
			path := filepath.Join(disk.Dir, "views.db")
			must(t, os.WriteFile(path, content, 0o600))
			disk.Spoil(t, path, int64(len(content)*percent/100))
			if _, err := os.ReadFile(path); !errors.Is(err, syscall.EIO) {
				t.Fatalf("reading it: %v", err)
			}
			if place := new(sqlitefile.Damage); !errors.As(sqlitefile.Verify(path), &place) {
				t.Error("who verifies the file does not find it")
			}
			store, err := Open(path)
			if err != nil {
				isDamage(t, err, path)
				return
			}
			refused := 0
			for i := range documents {
				docs, err := store.Get(t.Context(), table.Name, []string{fmt.Sprint("key-", i)})
				if err != nil {
					isDamage(t, err, path)
					refused++
				} else if len(docs) != 1 {
					t.Fatalf("document %d is missing", i)
				}
			}
			if refused == 0 {
				t.Error("all can be read")
			}
			isDamage(t, store.Ping(t.Context()), path)
			isDamage(t, store.Check(t.Context()), path)
			next := projections.Batch{Tables: batch.Tables, From: 1, To: 2, Hash: batch.Hash}
			for _, w := range batch.Writes {
				w.Position = 2
				next.Writes = append(next.Writes, w)
			}
			isDamage(t, store.Write(t.Context(), next), path)
			_ = store.Close(t.Context())
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

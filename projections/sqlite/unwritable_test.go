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
)

// A batch that finds no room is not there at all, says why, and is taken when there is room again.
func TestABatchThatTheDiskHasNoRoomForIsTakenLater(t *testing.T) {
	disk := disktest.New(t, 32<<20)
	store := openAt(t, filepath.Join(disk.Dir, "views.db"))
	table := projections.Table{Name: "things_1_1", View: "things", Version: 1}
	must(t, store.Create(t.Context(), table))
	const documents = 50
	batch := func(from uint64) projections.Batch {
		b := projections.Batch{Tables: []string{table.Name}, From: from, To: from + documents, Hash: make([]byte, 32)}
		for i := range uint64(documents) {
			body := fmt.Sprintf(`{"at": %d, "text": "%s"}`, from+i+1, strings.Repeat("x", 10_000))
			b.Writes = append(b.Writes, projections.Write{Table: table.Name,
				Document: projections.Document{ID: fmt.Sprint("thing-", i), Position: from + i + 1, Body: []byte(body)}})
		}
		return b
	}
	must(t, store.Write(t.Context(), batch(0)))
	disk.FillUp(t, 1<<20)
	end := uint64(documents)
	var full error
	for full == nil {
		if full = store.Write(t.Context(), batch(end)); full == nil {
			end += documents
		}
	}
	if !errors.Is(full, syscall.ENOSPC) || !strings.Contains(full.Error(), disk.Dir) {
		t.Errorf("it is told as: %v", full)
	}
	isAt := func(end uint64) {
		t.Helper()
		docs, err := store.Get(t.Context(), table.Name, []string{"thing-0", fmt.Sprint("thing-", documents-1)})
		must(t, err)
		if len(docs) != 2 || docs[0].Position != end-documents+1 || docs[1].Position != end {
			t.Errorf("the store is at %d, and the documents are other ones", end)
		}
		tables, err := store.Tables(t.Context())
		must(t, err)
		if tables[0].Position != end {
			t.Errorf("the table is at %d and should be at %d", tables[0].Position, end)
		}
	}
	isAt(end)
	disk.MakeRoom(t)
	must(t, store.Write(t.Context(), batch(end)))
	isAt(end + documents)
	must(t, store.Check(t.Context()))
}

// SQLite goes on with a write-ahead log that it cannot copy, and says nothing.
func TestAWriteAheadLogThatCannotBeCopiedIsTold(t *testing.T) {
	disk := disktest.New(t, 32<<20)
	path := filepath.Join(disk.Dir, "views.db")
	store := openAt(t, path)
	must(t, store.Create(t.Context(), projections.Table{Name: "things_1_1", View: "things", Version: 1}))
	must(t, store.Ping(t.Context()))
	disk.FillUp(t, 1<<20)
	rest, err := os.Create(filepath.Join(disk.Dir, "rest"))
	must(t, err)
	for err == nil {
		_, err = rest.Write(make([]byte, 4096))
	}
	must(t, rest.Close())
	if _, err := store.writer.db.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err == nil {
		t.Fatal("it is copied")
	}
	for range 2 {
		if err := store.Ping(t.Context()); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("it is told as: %v", err)
		}
	}
	disk.MakeRoom(t)
	must(t, store.Ping(t.Context()))
	must(t, store.Check(t.Context()))
}

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"truebond/cmd/truebond/datafolder"
)

// A kill leaves much that the next server puts in order. Whoever checks the log leaves it as it is.
func TestVerifyChangesNothingWhereAServerWasKilled(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	l := prepareLoad(t, data)
	server := spawn(t, data)
	callers := l.run(server.url, 4)
	if !l.awaitMore(50) {
		t.Fatalf("nothing is acknowledged; the server says\n%s", server.hasSaid())
	}
	(&world{t: t, url: server.url}).signsUpAs("late@example.com")
	server.kill()
	callers.Wait()
	before := filesIn(t, data)
	if len(before[datafolder.VaultFile+"-wal"]) == 0 || len(before[datafolder.ViewsFile+"-wal"]) == 0 {
		t.Fatal("the kill has left nothing to be put in order; that shows nothing")
	}
	code, said := runs(t, "verify", "--data", data)
	if code != exitDone || strings.Contains(said, "half of an append") {
		t.Errorf("a sound log: %d %s", code, said)
	}
	isAsBefore(t, data, before)

	// As if the kill had come in the midst of an append.
	blocks, err := filepath.Glob(filepath.Join(data, "log", "jetstream", "$G", "streams", "EVENTS", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("there are the blocks %q: %v", blocks, err)
	}
	block := before[strings.TrimPrefix(blocks[0], data+"/")]
	write(t, blocks[0], append(bytes.Clone(block), block[:100]...))
	before = filesIn(t, data)
	code, said = runs(t, "verify", "--data", data)
	if want := fmt.Sprintf("%s from byte %d on is half of an append, or damage in the last one", blocks[0], len(block)); code != exitDone || !strings.Contains(said, want) {
		t.Errorf("it ends with %d and does not say %q: %s", code, want, said)
	}
	isAsBefore(t, data, before)
	spawn(t, data).kill() // it serves
	checkPromises(t, data, l)
}

func isAsBefore(t *testing.T, folder string, before map[string][]byte) {
	t.Helper()
	after := filesIn(t, folder)
	for name := range before {
		if content, there := after[name]; !there || !bytes.Equal(content, before[name]) {
			t.Errorf("%s has changed, or is gone", name)
		}
	}
	if len(after) > len(before) {
		t.Errorf("there were %q, and are %q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

// filesIn are the files of a folder, by their names in it.
func filesIn(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	files := os.DirFS(folder)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[name], err = fs.ReadFile(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"truebond/cmd/truebond/datafolder"
)

// pageFlips are flips in each kind of page of a SQLite file, and in the byte that says that pages have checksums.
func pageFlips(t *testing.T, data, name string) (all []flip) {
	t.Helper()
	const pageBytes, headerBytes = 4096, 100
	content, err := os.ReadFile(filepath.Join(data, name))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[byte]string{ // https://sqlite.org/fileformat.html: the first byte of a page
		0x0d: "documents", 0x05: "way to documents", 0x0a: "entries of an index", 0x02: "way to entries",
	}
	pages := map[string][]int64{}
	for at := pageBytes; at < len(content); at += pageBytes {
		kind, known := kinds[content[at]]
		if !known {
			kind = "rest of a document, or nothing"
		}
		pages[kind] = append(pages[kind], int64(at))
	}
	for kind, at := range pages {
		for range 3 * *rotFlips {
			all = append(all, flip{what: kind, file: name, offset: at[rand.IntN(len(at))] + rand.Int64N(pageBytes)})
		}
	}
	return append(all,
		flip{what: "header", file: name, offset: rand.Int64N(headerBytes)},
		flip{what: "number of reserved bytes", file: name, offset: 20})
}

// storeFiles are the files of views and vault as they are.
func storeFiles(t *testing.T, data string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, file := range []string{datafolder.ViewsFile, datafolder.VaultFile} {
		for _, end := range []string{"", "-wal", "-copied"} {
			content, err := os.ReadFile(filepath.Join(data, file+end))
			switch {
			case end == "-copied" && errors.Is(err, fs.ErrNotExist): // nothing was copied yet
			case err != nil:
				t.Fatal(err)
			case len(content) > 0:
				found[file+end] = content
			}
		}
	}
	return found
}

// told demands that a server which refuses something for damage in a store has said where it is, and is not ready.
func (f *soundFolder) told(t *testing.T, data string, flip flip, server *child) {
	t.Helper()
	if said := server.hasSaid(); !strings.Contains(said, filepath.Join(data, flip.file)) {
		t.Errorf("it does not say where: %s", said)
	}
	ready := visit(t, data).ask("GET", "/readyz", "", nil)
	if ready.status == 200 || !strings.Contains(string(ready.body), "damaged on disk") {
		t.Errorf("readyz says %d %s", ready.status, ready.body)
	}
}

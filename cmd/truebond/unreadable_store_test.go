package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/disktest"
	"truebond/cmd/truebond/server"
)

// What the disk cannot read of a store is refused, and its place told: it never looks as if it were not there.
func TestWhatADiskCannotReadOfAStoreIsRefused(t *testing.T) {
	f := laySoundFolder(t)
	for _, name := range []string{datafolder.ViewsFile, datafolder.VaultFile} {
		for _, percent := range []int64{0, 10, 40, 70, 95} {
			t.Run(fmt.Sprintf("%s from %d%% on", name, percent), func(t *testing.T) {
				data := f.copied(t)
				disk := disktest.New(t, 64<<20)
				moved := filepath.Join(disk.Dir, name)
				here := filepath.Join(data, name)
				content, err := os.ReadFile(here)
				if err != nil {
					t.Fatal(err)
				}
				write(t, moved, content)
				if err := errors.Join(os.Remove(here), os.Symlink(moved, here)); err != nil {
					t.Fatal(err)
				}
				disk.Spoil(t, moved, int64(len(content))*percent/100)
				child, err := launch(t, server.Options{Data: data, Listen: "127.0.0.1:0"}, nil)
				if err != nil {
					if said := err.Error(); strings.Contains(said, "goroutine ") || !strings.Contains(said, moved) {
						t.Errorf("it does not say where: %v", err)
					}
					return
				}
				defer child.kill()
				wrong, refused := f.differences(visit(t, data))
				if len(wrong) > 0 {
					t.Errorf("wrong answers: %q", wrong)
				}
				if said := child.hasSaid(); strings.Contains(said, "goroutine ") ||
					len(refused) > 0 && !strings.Contains(said, moved) {
					t.Errorf("it does not say where: %s", said)
				}
				ready := visit(t, data).ask("GET", "/readyz", "", nil)
				if len(refused) > 0 && (ready.status == 200 || !strings.Contains(string(ready.body), "damaged on disk")) {
					t.Errorf("readyz says %d %s", ready.status, ready.body)
				}
				if code, said := runs(t, "compare", "--data", data); code == exitDone || !strings.Contains(said, moved) {
					t.Errorf("compare does not find it: %d %s", code, said)
				}
			})
		}
	}
}

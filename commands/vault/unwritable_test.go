package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"truebond/cmd/truebond/disktest"
)

// An erasure that the disk does not take is no erasure yet: it says so, and is done when it is asked for again.
func TestAnErasureThatTheDiskDoesNotTakeIsDoneLater(t *testing.T) {
	disk := disktest.New(t, 32<<20)
	path := filepath.Join(disk.Dir, "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true, Uncached())
	must(t, err)
	text := sealed(t, v, "ann", "msg/1", "hello")
	keys, _, err := store.Keys(t.Context(), []string{"ann"})
	must(t, err)
	must(t, store.overwriteOld(t.Context()))
	fillWholly(t, disk)
	refused := 0
	for range 3 {
		if err := v.Erase(t.Context(), "ann"); err != nil {
			refused++
			if !strings.Contains(err.Error(), disk.Dir) {
				t.Errorf("it is told as: %v", err)
			}
		}
	}
	if refused == 0 {
		t.Error("a full disk takes it")
	}
	if got, err := v.Text(t.Context(), text); err != nil || got != "hello" && got != Erased {
		t.Errorf("%q is read: %v", got, err)
	}
	disk.MakeRoom(t)
	must(t, v.Erase(t.Context(), "ann"))
	if isInFiles(t, path, keys[0].Wrapped[generationBytes:][:16]) {
		t.Error("the key is still there")
	}
	if _, err := v.Open(t.Context(), text); !errors.Is(err, ErrErased) {
		t.Errorf("the text is read: %v", err)
	}
}

// Whoever is told of no key has none, and gets another one when the disk takes it.
func TestAKeyThatTheDiskDoesNotTakeSealsNothing(t *testing.T) {
	disk := disktest.New(t, 32<<20)
	path := filepath.Join(disk.Dir, "vault.db")
	v, err := Open(t.Context(), openedSQLite(t, path), secret, true)
	must(t, err)
	fillWholly(t, disk)
	owners := allOwners(200)
	made := 0
	for _, owner := range owners {
		if err := v.MakeKey(t.Context(), owner); err == nil {
			made++
		} else if !strings.Contains(err.Error(), disk.Dir) {
			t.Fatalf("it is told as: %v", err)
		}
	}
	if made == len(owners) {
		t.Fatal("a full disk takes them all")
	}
	disk.MakeRoom(t)
	for _, owner := range owners {
		text := sealed(t, v, owner, "msg/2", "hello")
		again, err := Open(t.Context(), openedSQLite(t, path), secret, false)
		must(t, err)
		if got, err := again.Text(t.Context(), text); err != nil || got != "hello" {
			t.Fatalf("%q is read: %v", got, err)
		}
	}
}

func fillWholly(t *testing.T, disk *disktest.Disk) {
	t.Helper()
	disk.FillUp(t, 1<<20)
	rest, err := os.Create(filepath.Join(disk.Dir, "rest"))
	must(t, err)
	defer rest.Close()
	for err == nil {
		_, err = rest.Write(make([]byte, 4096))
	}
	must(t, rest.Sync())
}

package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"truebond/cmd/truebond/disktest"
)

// No key counts as missing that cannot be read: it is still there.
func TestWhatADiskCannotReadIsDamageAndNoMissingKey(t *testing.T) {
	const owners = 500
	sound := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, sound)
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	addKeys(t, v, owners)
	must(t, store.overwriteOld(t.Context()))
	text := sealed(t, v, "owner 7", "msg/1", "hello")
	content, err := os.ReadFile(sound)
	must(t, err)
	for _, percent := range []int{0, 10, 50, 95} {
		t.Run(fmt.Sprintf("from %d%% on", percent), func(t *testing.T) {
			disk := disktest.New(t, 32<<20)
			path := filepath.Join(disk.Dir, "vault.db")
			must(t, os.WriteFile(path, content, 0o600))
			disk.Spoil(t, path, int64(len(content)*percent/100))
			if _, err := os.ReadFile(path); !errors.Is(err, syscall.EIO) {
				t.Fatalf("reading it: %v", err)
			}
			isDamage := func(err error) {
				t.Helper()
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
					t.Errorf("it is told as: %v", err)
				}
			}
			store, err := OpenSQLite(path)
			if err != nil {
				isDamage(err)
				return
			}
			defer store.Close(t.Context()) //nolint:errcheck // its disk is broken
			v, err := Open(t.Context(), store, secret, false, Uncached())
			if err != nil {
				isDamage(err)
				return
			}
			refused := 0
			for _, owner := range allOwners(owners) {
				keys, _, err := store.Keys(t.Context(), []string{owner})
				if err != nil {
					isDamage(err)
					refused++
				} else if len(keys) != 1 || keys[0].Erased {
					t.Fatalf("the key of %s is gone", owner)
				}
			}
			if refused == 0 {
				t.Error("all can be read")
			}
			if got, err := v.Text(t.Context(), text); err != nil {
				isDamage(err)
			} else if got != "hello" {
				t.Errorf("%q is read", got)
			}
			isDamage(store.Ping(t.Context()))
			isDamage(store.Check(t.Context()))
			for _, owner := range allOwners(owners) {
				if _, err := v.Seal(t.Context(), owner, "msg/2", "body", "hello"); err != nil {
					isDamage(err)
				}
				if err := v.Erase(t.Context(), owner); err != nil {
					isDamage(err)
				}
			}
		})
	}
}

package vault

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"truebond/projections/storetest"
)

// A home is where a vault is kept. Each store that it opens is like another process.
type home func(t *testing.T) Store

func onBothStores(t *testing.T, test func(t *testing.T, h home)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "with ? and space", "vault.db")
		makeFolder(t, path)
		test(t, func(t *testing.T) Store { return openedSQLite(t, path) })
	})
	t.Run("MongoDB", func(t *testing.T) {
		url := storetest.Mongo(t)
		test(t, func(t *testing.T) Store {
			t.Helper()
			store, err := OpenMongo(context.Background(), url)
			must(t, err)
			t.Cleanup(func() { must(t, store.Close(context.Background())) })
			return store
		})
	})
}

func TestAStoreChangesOnlyWhatIsAsItWas(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		store := h(t)
		is := func(want string) {
			t.Helper()
			keys, root, err := store.Keys(ctx(t), []string{"ann", "nobody"})
			must(t, err)
			if len(keys) != 1 {
				t.Fatalf("%d keys are found", len(keys))
			}
			if got := fmt.Sprintf("%s %v %s", keys[0].Wrapped, keys[0].Erased, root); got != want {
				t.Fatalf("want %s, got %s", want, got)
			}
		}
		must(t, store.AddKey(ctx(t), "ann", []byte("one")))
		must(t, store.AddKey(ctx(t), "ann", []byte("two")))
		is("one false ")
		change := func(old, after string) {
			t.Helper()
			must(t, store.Rewrap(ctx(t), []Rewrap{
				{"nobody", []byte(old), []byte("new")}, {"ann", []byte(old), []byte(after)},
			}))
		}
		change("two", "ill")
		is("one false ")
		change("one", "two")
		is("two false ")
		for i, step := range []struct {
			old, after []byte
			swapped    bool
		}{
			{[]byte("r0"), []byte("r1"), false}, {nil, []byte("r1"), true}, {nil, []byte("r2"), false},
			{[]byte("r0"), []byte("r2"), false}, {[]byte("r1"), []byte("r2"), true},
		} {
			if swapped, err := store.SwapRoot(ctx(t), step.old, step.after); err != nil || swapped != step.swapped {
				t.Fatalf("step %d: swapped %v: %v", i, swapped, err)
			}
		}
		is("two false r2")
		must(t, store.Destroy(ctx(t), "ann"))
		change("two", "ill")
		must(t, store.AddKey(ctx(t), "ann", []byte("new")))
		is(" true r2")
		page, err := store.Page(ctx(t), "", 10)
		if err != nil || len(page) != 0 {
			t.Fatalf("the tombstone is a key: %v, %v", page, err)
		}
	})
}

func TestAStoreGivesItsKeysPageByPage(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		store := h(t)
		for _, owner := range []string{"usr_3", "usr_1", "root", "usr_2", "$gt"} {
			must(t, store.AddKey(ctx(t), owner, []byte(owner)))
		}
		var got []string
		after := ""
		for {
			page, err := store.Page(ctx(t), after, 2)
			must(t, err)
			if len(page) == 0 {
				break
			}
			for _, k := range page {
				got = append(got, k.Owner)
			}
			after = got[len(got)-1]
		}
		if fmt.Sprint(got) != "[$gt root usr_1 usr_2 usr_3]" {
			t.Fatalf("got %v", got)
		}
	})
}

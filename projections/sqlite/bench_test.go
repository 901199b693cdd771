package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"truebond/projections/sqlite"
	"truebond/projections/storetest"
)

func BenchmarkWrite(b *testing.B) { storetest.BenchmarkWrite(b, opened(b)) }

func BenchmarkRead(b *testing.B) { storetest.BenchmarkRead(b, opened(b)) }

func opened(b *testing.B) *sqlite.Store {
	b.Helper()
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "views.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close(context.Background()) })
	return store
}

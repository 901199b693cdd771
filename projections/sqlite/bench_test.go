package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"truebond/projections/sqlite"
	"truebond/projections/storetest"
)

func BenchmarkWrite(b *testing.B) {
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "views.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close(context.Background()) })
	storetest.BenchmarkWrite(b, store)
}

package sqlite_test

import (
	"path/filepath"
	"testing"

	"truebond/projections"
	"truebond/projections/sqlite"
	"truebond/projections/storetest"
)

func TestSQLiteKeepsToTheSuite(t *testing.T) {
	storetest.Suite(t, func(t testing.TB) func() (projections.Store, error) {
		path := filepath.Join(t.TempDir(), "views #1?&%.db")
		return func() (projections.Store, error) { return sqlite.Open(path) }
	})
}

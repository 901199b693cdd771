package sqlitefile

import (
	"database/sql"
	"slices"
	"testing"

	"github.com/ncruces/go-sqlite3/driver"
)

// Programs that write no notes use a file between two crashes: an older version, or a tool.
func TestAFileThatOthersHaveUsedIsNoDamage(t *testing.T) {
	whole, _ := copiedLog(t)
	half := halfCopied(t)
	const copyLog, emptyLog = "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"
	const change = `UPDATE things SET body = body || 'x' WHERE id LIKE '%00' OR id LIKE '%-new';
		INSERT INTO things VALUES (hex(randomblob(8)), 'of others')`
	for what, c := range map[string]struct {
		crashed map[string][]byte
		others  []string
		close   bool
		after   string // is done by who writes notes
	}{
		"they copied a log that was half copied, and removed it":      {half, nil, true, ""},
		"they did so, and changed rows":                               {half, []string{change}, true, ""},
		"they copied a log that was half copied, and emptied it":      {half, []string{emptyLog}, false, ""},
		"they wrote more of the log and copied that":                  {whole, []string{change, copyLog}, false, ""},
		"they did so, and changed pages again":                        {whole, []string{change, copyLog, change}, false, ""},
		"they began the log anew and copied it":                       {whole, []string{copyLog, change, copyLog}, false, ""},
		"they did so, and shortened the file":                         {whole, []string{copyLog, "DELETE FROM things; VACUUM", copyLog}, false, ""},
		"they began it anew twice":                                    {whole, []string{copyLog, change, copyLog, change}, false, ""},
		"they changed rows and removed the log, and another is there": {whole, []string{change}, true, change},
	} {
		t.Run(what, func(t *testing.T) {
			path := left(t, c.crashed, slices.Clone)
			others := plain(t, path)
			for _, statement := range c.others {
				must(t, exec(others, statement))
			}
			if c.close {
				must(t, others.Close())
			}
			if c.after != "" {
				must(t, exec(open(t, path), c.after))
			}
			crashed := filesOf(t, path)
			path = left(t, crashed, slices.Clone)
			must(t, Verify(path))
			content, err := seen(t, path)
			must(t, err)
			delete(crashed, "-copied")
			if rows, err := seen(t, left(t, crashed, slices.Clone)); err != nil || content != rows {
				t.Errorf("something else is read: %v", err)
			}
		})
	}
}

// plain opens a file as others do, who give its pages checksums, too.
func plain(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := driver.Open("file:" + path + "?_pragma=journal_mode(WAL)&_pragma=wal_autocheckpoint(0)")
	must(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { must(t, db.Close()) })
	var n int
	must(t, db.QueryRow("SELECT count(*) FROM things").Scan(&n))
	return db
}

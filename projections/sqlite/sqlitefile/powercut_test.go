package sqlitefile

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"truebond/cmd/truebond/disktest"
)

// Whatever is on the disk when the power goes, in the midst of copying the write-ahead log too, is no damage.
func TestAPowerCutLeavesNoDamage(t *testing.T) {
	const rounds = 8
	for _, synchronous := range []string{"NORMAL", "FULL"} {
		t.Run(synchronous, func(t *testing.T) {
			disk := disktest.New(t, 64<<20)
			path := filepath.Join(disk.Dir, "cut.db")
			db := open(t, path)
			fill(t, db)
			must(t, exec(db, "CREATE TABLE rows (n INTEGER PRIMARY KEY, text TEXT NOT NULL)"))
			must(t, db.Close())
			var rows atomic.Int64 // that were acknowledged
			for range rounds {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					insertUntilItFails(path, synchronous, &rows)
				}()
				time.Sleep(time.Duration(50+rand.IntN(200)) * time.Millisecond)
				// What is being synced while the power goes is taken for synced by the kernel, now and then.
				before := rows.Load()
				disk.CutPower(t)
				<-ended
				disk.Restart(t)
				must(t, Verify(path))
				must(t, look(t, path))
				db := open(t, path)
				var left, end int64
				must(t, db.QueryRow("SELECT count(*), ifnull(max(n) + 1, 0) FROM rows").Scan(&left, &end))
				if left != end || synchronous == "FULL" && left < before {
					t.Errorf("%d rows are left up to row %d, and %d were acknowledged", left, end, before)
				}
				must(t, db.Close())
				rows.Store(left)
			}
		})
	}
}

// insertUntilItFails inserts rows, one by one, while readers hold back some of the copying.
func insertUntilItFails(path, synchronous string, rows *atomic.Int64) {
	file, err := At(path)
	if err != nil {
		return
	}
	pragmas := []string{"synchronous(" + synchronous + ")", fmt.Sprintf("wal_autocheckpoint(%d)", 1+rand.IntN(50))}
	db, err := file.Open(Settings{Connections: 2, Writes: true, Pragmas: pragmas})
	if err != nil {
		return
	}
	defer db.Close()
	for err == nil {
		var reads *sql.Rows
		if rows.Load()%10 < 5 {
			if reads, err = db.Query("SELECT id FROM things"); err != nil {
				return
			}
			reads.Next()
		}
		for range 5 { // pages all over the file
			_ = exec(db, "UPDATE things SET body = ? WHERE id = ?", fmt.Sprint(rows.Load()), name(rand.IntN(things)))
		}
		err = exec(db, "INSERT INTO rows VALUES (?, ?)", rows.Load(), strings.Repeat("x", 200))
		if err == nil {
			rows.Add(1)
		}
		if reads != nil {
			_ = reads.Close()
		}
	}
}

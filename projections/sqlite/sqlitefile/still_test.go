package sqlitefile

import (
	"database/sql"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3/driver"
)

func TestWhoOnlyReadsAFileSeesWhatWaitsInItsLogAndChangesNothing(t *testing.T) {
	whole, _ := copiedLog(t)
	for name, crashed := range map[string]map[string][]byte{
		"nothing is copied":             notCopied(t),
		"half of it is":                 halfCopied(t),
		"all of it is":                  whole,
		"the log was removed":           {"": whole[""]},
		"the log is empty":              {"": whole[""], "-wal": {}},
		"a transaction was under way":   underWay(t),
		"a frame is half written":       cut(notCopied(t), 100),
		"a frame is damaged":            lastDamaged(notCopied(t)),
		"there are no checksums":        rowWithoutChecksums(t),
		"there is an older log's frame": olderFrames(t),
	} {
		t.Run(name, func(t *testing.T) {
			path := left(t, crashed, func(log []byte) []byte { return log })
			before := namesIn(t, filepath.Dir(path))
			read, err := seenThrough(t, path, (*File).Read)
			must(t, err)
			if after := filesOf(t, path); !maps.EqualFunc(after, crashed, slices.Equal) || namesIn(t, filepath.Dir(path)) != before {
				t.Errorf("its files were changed; there are %s", namesIn(t, filepath.Dir(path)))
			}
			if right, err := seen(t, path); err != nil || read != right {
				t.Errorf("%d bytes were read, want %d: %v", len(read), len(right), err)
			}
		})
	}
}

func TestWhoOnlyReadsAFileIsToldOfDamage(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "sound.db")
	fill(t, open(t, sound))
	content := closed(t, sound)
	for range 20 {
		path := filepath.Join(t.TempDir(), "damaged.db")
		writeFile(t, path, flipped(content, rand.IntN(len(content))))
		_, err := seenThrough(t, path, (*File).Read)
		if place := new(Damage); !errors.As(err, &place) || place.File != path {
			t.Errorf("it is told as: %v", err)
		}
	}
	crashed := left(t, halfCopied(t), func(log []byte) []byte { return log[:len(log)/2] })
	if _, err := seenThrough(t, crashed, (*File).Read); !strings.Contains(err.Error(), crashed+"-wal") {
		t.Errorf("the log is damaged, and that is told as: %v", err)
	}
}

func TestWhoOnlyReadsAFileMakesNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	if _, err := seenThrough(t, path, (*File).Read); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is no file: %v", err)
	}
	db, err := driver.Open("file:" + path)
	must(t, err)
	must(t, exec(db, "PRAGMA application_id = 7; CREATE TABLE things (id, body)"))
	must(t, db.Close())
	if _, err := seenThrough(t, path, (*File).Read); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("it is read: %v", err)
	}
	mine := filepath.Join(t.TempDir(), "mine.db")
	fill(t, open(t, mine))
	file, err := At(mine)
	must(t, err)
	reading, err := file.Read()
	must(t, err)
	defer reading.Close()
	if err := exec(reading, "DELETE FROM things"); err == nil {
		t.Error("who only reads has deleted")
	}
}

func notCopied(t *testing.T) map[string][]byte {
	t.Helper()
	path, _ := beforeCopying(t)
	return filesOf(t, path)
}

func cut(crashed map[string][]byte, bytes int) map[string][]byte {
	log := crashed["-wal"]
	crashed["-wal"] = log[:len(log)-bytes]
	return crashed
}

func lastDamaged(crashed map[string][]byte) map[string][]byte {
	log := crashed["-wal"]
	log[len(log)-100] ^= 1
	return crashed
}

// underWay is what a kill leaves of a transaction that was larger than its cache.
func underWay(t *testing.T) map[string][]byte {
	t.Helper()
	path, db := beforeCopying(t)
	before := len(readFile(t, path+"-wal"))
	must(t, exec(db, "PRAGMA cache_size = 10"))
	must(t, exec(db, "BEGIN IMMEDIATE"))
	must(t, exec(db, "UPDATE things SET body = upper(body)"))
	crashed := filesOf(t, path)
	must(t, exec(db, "ROLLBACK"))
	if len(crashed["-wal"]) <= before {
		t.Fatal("nothing of the transaction is in the log")
	}
	return crashed
}

// olderFrames is a log that has begun anew, with frames of the one before behind its own.
func olderFrames(t *testing.T) map[string][]byte {
	t.Helper()
	path, db := beforeCopying(t)
	must(t, exec(db, "PRAGMA wal_checkpoint(RESTART)"))
	must(t, exec(db, "INSERT INTO things VALUES ('last', 'of all')"))
	return filesOf(t, path)
}

// rowWithoutChecksums is an older version's file, with a row in its log.
func rowWithoutChecksums(t *testing.T) map[string][]byte {
	t.Helper()
	path, db := withoutChecksums(t)
	must(t, exec(db, "INSERT INTO things VALUES ('late', 'in the log')"))
	return filesOf(t, path)
}

// withoutChecksums is an older version's file, and a connection that leaves what it writes in the log.
func withoutChecksums(t *testing.T) (path string, db *sql.DB) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "old.db")
	db, err := driver.Open("file:" + path + "?_pragma=journal_mode(WAL)&_pragma=wal_autocheckpoint(0)")
	must(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { must(t, db.Close()) })
	fill(t, db)
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	return path, db
}

func namesIn(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

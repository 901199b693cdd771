package sqlitefile

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
)

const (
	pageBytes = 4096
	things    = 2000 // some hundred pages: leaves, inner pages, an index and pages that overflow
)

func TestAFlippedBitInAFileIsAnErrorThatNamesThePlace(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "sound.db")
	fill(t, open(t, sound))
	content := closed(t, sound)
	for range 100 {
		at := headerBytes + rand.IntN(len(content)-headerBytes)
		path := filepath.Join(t.TempDir(), "damaged.db")
		writeFile(t, path, flipped(content, at))
		said := look(t, path)
		if said == nil {
			t.Errorf("byte %d has flipped, and all pages are read", at)
			continue
		}
		if !errors.Is(said, errDamaged) {
			t.Errorf("byte %d has flipped, and that is told as: %v", at, said)
		}
		if place := new(Damage); !errors.As(said, &place) {
			t.Errorf("byte %d has flipped, and no place is named: %v", at, said)
		} else if place.File != path || int64(at) < place.From || int64(at) >= place.From+int64(place.Size) {
			t.Errorf("byte %d has flipped, and this is told of another place: %v", at, said)
		}
	}
}

func TestNoBitOfTheHeaderTurnsChecksumsOff(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "sound.db")
	fill(t, open(t, sound))
	content := closed(t, sound)
	for at := range headerBytes {
		bits := []int{rand.IntN(8)}
		if at == reservedAt {
			bits = []int{0, 1, 2, 3, 4, 5, 6, 7}
		}
		for _, bit := range bits {
			path := filepath.Join(t.TempDir(), "damaged.db")
			damaged := append([]byte{}, content...)
			damaged[at] ^= 1 << bit
			writeFile(t, path, damaged)
			if err := look(t, path); !errors.Is(err, errDamaged) {
				t.Errorf("bit %d of byte %d has flipped: %v", bit, at, err)
			}
		}
	}
}

// The bit flips while connections are open; one that has the page in its memory may go on with it.
func TestABitThatFlipsInAFileInUseIsNoticedByWhoReadsItThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "used.db")
	db := open(t, path)
	fill(t, db)
	must(t, exec(db, "VACUUM")) // no free pages, which nobody reads
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	sound := readFile(t, path)
	for range 50 {
		at := rand.IntN(len(sound))
		overwrite(t, path, at, sound[at]^1<<rand.IntN(8))
		if err := look(t, path); !errors.Is(err, errDamaged) {
			t.Errorf("byte %d has flipped: %v", at, err)
		}
		overwrite(t, path, at, sound[at])
		must(t, look(t, path))
	}
	overwrite(t, path, reservedAt, 0) // as if there were no checksums
	must(t, exec(db, "PRAGMA shrink_memory"))
	if err := look(t, path); !strings.Contains(fmt.Sprint(err), "bytes 20 to 20 of "+path) {
		t.Errorf("nothing says that the checksums are hidden: %v", err)
	}
}

func TestABitThatFlipsInTheWriteAheadLogIsNeitherReadNorCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "waiting.db")
	db := open(t, path)
	must(t, exec(db, "PRAGMA wal_autocheckpoint = 0"))
	fill(t, db)
	right, err := seen(t, path)
	must(t, err)
	sound := readFile(t, path+"-wal")
	frame := frameHeaderBytes + pageBytes
	for range 50 {
		at := walHeaderBytes + rand.IntN((len(sound)-walHeaderBytes)/frame)*frame + frameHeaderBytes + rand.IntN(pageBytes)
		overwrite(t, path+"-wal", at, sound[at]^1<<rand.IntN(8))
		content, err := seen(t, path)
		switch {
		case err != nil && !strings.Contains(err.Error(), path+"-wal"):
			t.Errorf("byte %d has flipped: %v", at, err)
		case err == nil && content != right: // else a later frame has the page, or it is free
			t.Errorf("byte %d has flipped, and something else is read", at)
		}
		if err := exec(db, "PRAGMA wal_checkpoint(FULL)"); err != nil && !errors.Is(err, sqlite3.IOERR_DATA) {
			t.Errorf("byte %d has flipped: %v", at, err)
		}
		overwrite(t, path+"-wal", at, sound[at])
		if content, err := seen(t, path); err != nil || content != right {
			t.Fatalf("byte %d had flipped, and was copied: %v", at, err)
		}
	}
}

// What is behind a damaged frame after a crash is gone, as if it had never been committed.
func TestAfterACrashADamagedWriteAheadLogEndsBeforeTheDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "used.db")
	db := open(t, path)
	must(t, exec(db, "CREATE TABLE things (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL)"))
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	for i := range 100 {
		must(t, exec(db, "INSERT INTO things VALUES (?, 'words')", fmt.Sprintf("%03d", i)))
	}
	main, wal := readFile(t, path), readFile(t, path+"-wal")
	for range 20 {
		crashed := filepath.Join(t.TempDir(), "crashed.db")
		writeFile(t, crashed, main)
		writeFile(t, crashed+"-wal", flipped(wal, rand.IntN(len(wal))))
		db := open(t, crashed)
		var n, last int
		must(t, db.QueryRow("SELECT count(*), ifnull(max(id) + 1, 0) FROM things").Scan(&n, &last))
		if n != last {
			t.Errorf("%d rows are left, and the last is the %dth", n, last)
		}
		must(t, look(t, crashed))
	}
}

// A transaction that is larger than its cache writes pages, reads them again and writes them anew.
func TestATransactionBeyondItsCacheReadsWhatItHasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.db")
	db := open(t, path)
	fill(t, db)
	must(t, exec(db, "PRAGMA cache_size = 10"))
	for _, end := range []string{"ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT"} {
		must(t, exec(db, "BEGIN IMMEDIATE"))
		for range 5 {
			for range 50 {
				must(t, exec(db, "UPDATE things SET body = upper(body) || id WHERE id = ?", name(rand.IntN(things))))
			}
			must(t, exec(db, "UPDATE things SET body = lower(body)"))
			var n int
			must(t, db.QueryRow("SELECT count(*) FROM things WHERE length(body) > 10").Scan(&n))
			if n != things {
				t.Fatalf("%d are read", n)
			}
		}
		must(t, exec(db, end))
		must(t, look(t, path))
	}
}

func TestAnIndexLargerThanTheMemoryOfAConnectionIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.db")
	for _, elsewhere := range []string{"TMPDIR", "SQLITE_TMPDIR"} { // they may be in memory, too
		t.Setenv(elsewhere, filepath.Join(path, "nowhere"))
	}
	file, err := At(path)
	must(t, err)
	db, err := file.Open(Settings{Connections: 1, Writes: true, Large: true, Pragmas: []string{"cache_size(-1024)"}})
	must(t, err)
	defer db.Close()
	const rows, memory = 20_000, 32 << 20
	c, err := db.Conn(sqlite3.WithMaxMemory(t.Context(), memory)) // it stays the pool's only one
	must(t, err)
	must(t, c.Close())
	must(t, exec(db, "CREATE TABLE things (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"))
	must(t, exec(db, fmt.Sprintf("INSERT INTO things SELECT value, (%d - value) || '%s' FROM generate_series(1, %d)",
		rows, strings.Repeat("x", 2*memory/rows), rows)))
	must(t, exec(db, "CREATE INDEX bodies ON things (body)"))
	must(t, file.Check(t.Context(), db))
}

func TestAFileWithoutChecksumsGetsThem(t *testing.T) {
	for _, c := range []struct {
		what  string
		leave func(db *sql.DB) error
	}{
		{"closed in good order", func(*sql.DB) error { return nil }},
		{"killed", func(db *sql.DB) error { return exec(db, "INSERT INTO things VALUES ('late', 'in the log')") }},
		{"killed when it had got them", func(db *sql.DB) error {
			c, err := db.Conn(t.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Raw(func(c any) error {
				raw := c.(driver.Conn).Raw()
				_, err := raw.FileControl("main", sqlite3.FCNTL_RESERVE_BYTES, checksumBytes)
				return errors.Join(err, raw.Exec("VACUUM"))
			})
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			old, db := withoutChecksums(t)
			must(t, c.leave(db))
			path := filepath.Join(t.TempDir(), "new.db") // copied while it is open: as a crash leaves it
			writeFile(t, path, readFile(t, old))
			writeFile(t, path+"-wal", readFile(t, old+"-wal"))
			var before, after int
			must(t, db.QueryRow("SELECT count(*) FROM things").Scan(&before))

			now := open(t, path)
			must(t, now.QueryRow("SELECT count(*) FROM things").Scan(&after))
			if before != after {
				t.Errorf("%d of %d are left", after, before)
			}
			must(t, now.Close())
			content := readFile(t, path)
			for range 20 {
				at := rand.IntN(len(content))
				writeFile(t, path, flipped(content, at))
				if err := look(t, path); !errors.Is(err, errDamaged) {
					t.Errorf("byte %d has flipped: %v", at, err)
				}
			}
		})
	}
}

func TestAFileOfAnotherProgramIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := driver.Open("file:" + path)
	must(t, err)
	must(t, exec(db, "PRAGMA application_id = 7; CREATE TABLE notes (text)"))
	must(t, db.Close())
	if err := look(t, path); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("it is opened: %v", err)
	}
}

func TestAFileIsMadeAtTheEndOfALink(t *testing.T) {
	path, link := filepath.Join(t.TempDir(), "there.db"), filepath.Join(t.TempDir(), "here.db")
	must(t, os.Symlink(path, link))
	fill(t, open(t, link))
	must(t, look(t, path))
}

func TestOnlyTheOwnerReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine #1?&%+.db")
	fill(t, open(t, path))
	for _, end := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + end)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%q has mode %v", end, info.Mode())
		}
	}
}

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	file, err := At(path)
	must(t, err)
	db, err := file.Open(Settings{Connections: 1, Writes: true})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	must(t, exec(db, "CREATE TABLE things (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL)"))
	must(t, exec(db, "BEGIN"))
	for i := range things {
		must(t, exec(db, "INSERT INTO things VALUES (?, ?)", name(i), strings.Repeat("some words ", 1+i%40)))
	}
	must(t, exec(db, "INSERT INTO things VALUES ('long', ?)", strings.Repeat("many words ", 2000)))
	must(t, exec(db, "DELETE FROM things WHERE id = 'long'")) // leaves free pages
	must(t, exec(db, "INSERT INTO things VALUES ('longer', ?)", strings.Repeat("few words ", 1000)))
	must(t, exec(db, "DELETE FROM things WHERE id = 'longer'"))
	must(t, exec(db, "COMMIT"))
}

func name(i int) string { return fmt.Sprintf("thing-%05d", i*7919%things) }

// closed closes the only connection, and gives the file without the free pages that nobody reads.
func closed(t *testing.T, path string) []byte {
	t.Helper()
	db := open(t, path)
	must(t, exec(db, "VACUUM"))
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	return readFile(t, path)
}

// errDamaged is how look tells of damage.
var errDamaged = errors.New("damaged")

// look opens a file and reads all of it, through each of its trees.
func look(t *testing.T, path string) error {
	t.Helper()
	_, err := seen(t, path)
	return err
}

func seen(t *testing.T, path string) (content string, err error) {
	t.Helper()
	return seenThrough(t, path, opened)
}

// opened is a connection by which a file is put in order after a crash.
func opened(f *File) (*sql.DB, error) { return f.Open(Settings{Connections: 1}) }

func seenThrough(t *testing.T, path string, open func(*File) (*sql.DB, error)) (content string, err error) {
	t.Helper()
	file, err := At(path)
	must(t, err)
	db, err := open(file)
	if err != nil {
		return "", err
	}
	defer db.Close()
	for _, query := range []string{
		"SELECT id || body FROM things NOT INDEXED",
		"SELECT id FROM things INDEXED BY sqlite_autoindex_things_1 ORDER BY id",
	} {
		rows, err := readAll(db, query)
		if how := file.Damage(err); how != nil {
			return "", fmt.Errorf("%w: %w", errDamaged, how)
		}
		if err != nil {
			return "", err
		}
		content += rows
	}
	return content, nil
}

func readAll(db *sql.DB, query string) (content string, err error) {
	rows, err := db.Query(query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return "", err
		}
		fmt.Fprintln(&all, text)
	}
	return all.String(), rows.Err()
}

func exec(db *sql.DB, statement string, args ...any) error {
	_, err := db.Exec(statement, args...)
	return err
}

func flipped(content []byte, at int) []byte {
	damaged := append([]byte{}, content...)
	damaged[at] ^= 1 << rand.IntN(8)
	return damaged
}

func overwrite(t *testing.T, path string, at int, b byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte{b}, int64(at))
	must(t, errors.Join(err, file.Close()))
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return content
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package sqlitefile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWhoVerifiesAFileFindsEachFlippedBit(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "sound.db")
	db := open(t, sound)
	fill(t, db)
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)")) // with free pages
	must(t, Verify(sound))
	content := readFile(t, sound)
	places := []int{0, pageSizeAt, pageSizeAt + 1, reservedAt, headerBytes, len(content) - 1}
	for range 200 {
		places = append(places, rand.IntN(len(content)))
	}
	for _, at := range places {
		path := filepath.Join(t.TempDir(), "damaged.db")
		writeFile(t, path, flipped(content, at))
		place := new(Damage)
		if err := Verify(path); !errors.As(err, &place) || place.File != path ||
			int64(at) < place.From || int64(at) >= place.From+int64(place.Size) {
			t.Errorf("byte %d has flipped, and it says: %v", at, err)
		}
	}
}

// A disk or a file system that has lost a block, and a file that is cut off.
func TestAPageOfZerosAndOneThatIsNotThereAreDamage(t *testing.T) {
	for what, lose := range map[string]func(content []byte, from int) []byte{
		"of zeros": func(content []byte, from int) []byte {
			return slices.Concat(content[:from], make([]byte, pageBytes), content[from+pageBytes:])
		},
		"not there": func(content []byte, from int) []byte { return content[:from] },
	} {
		sound := filepath.Join(t.TempDir(), "sound.db")
		db := open(t, sound)
		fill(t, db)
		must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
		var free int
		must(t, db.QueryRow("PRAGMA freelist_count").Scan(&free))
		content := readFile(t, sound)
		for from := pageBytes; from < len(content); from += pageBytes {
			path := filepath.Join(t.TempDir(), "damaged.db")
			writeFile(t, path, lose(content, from))
			found := Verify(path)
			if place := new(Damage); found == nil && free > 0 && what == "of zeros" {
				free-- // one that has no content
				must(t, look(t, path))
			} else if !errors.As(found, &place) || place.File != path || place.From > int64(from) {
				t.Errorf("the page at byte %d is %s, and it says: %v", from, what, found)
			}
		}
	}
}

// Pages are freed and taken again, within a transaction too, and all that is beyond the cache is read again.
func TestAPageThatWasFreedIsNoDamage(t *testing.T) {
	for _, secure := range []string{"OFF", "ON"} {
		path := filepath.Join(t.TempDir(), "freed.db")
		db := open(t, path)
		must(t, exec(db, "PRAGMA cache_size = 10; PRAGMA wal_autocheckpoint = 50; PRAGMA secure_delete = "+secure))
		fill(t, db)
		for i := range 30 {
			must(t, exec(db, "BEGIN IMMEDIATE"))
			for range 3 {
				must(t, exec(db, "DELETE FROM things WHERE rowid % 3 = ?", i%3))
				must(t, exec(db, "INSERT INTO things SELECT id || ?, body || body FROM things WHERE rowid % 4 = 0 LIMIT 500",
					fmt.Sprint("-", rand.Int())))
				must(t, exec(db, "UPDATE things SET body = substr(body, 1, 1 + length(body) / 3)"))
			}
			must(t, exec(db, []string{"COMMIT", "ROLLBACK"}[i%2]))
			must(t, look(t, path))
		}
		must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
		must(t, Verify(path))
	}
}

func TestAPageOfZerosIsNotRead(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "sound.db")
	fill(t, open(t, sound))
	content := closed(t, sound)
	for from := pageBytes; from < len(content); from += pageBytes {
		path := filepath.Join(t.TempDir(), "damaged.db")
		writeFile(t, path, slices.Concat(content[:from], make([]byte, pageBytes), content[from+pageBytes:]))
		if place := new(Damage); !errors.As(look(t, path), &place) || place.From != int64(from) {
			t.Errorf("the page at byte %d is of zeros, and it says: %v", from, place)
		}
	}
}

// What a power cut leaves: the page is whole in the write-ahead log, and half of it is in the file.
func TestAPageThatWaitsInTheWriteAheadLogIsNoDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.db")
	db := open(t, path)
	fill(t, db)
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	must(t, exec(db, "UPDATE things SET body = 'other'"))
	must(t, Verify(path))
	whole := readFile(t, path)
	waiting, err := waitingPages(path, pageBytes)
	must(t, err)
	passed := 0
	for number := range len(whole) / pageBytes {
		overwrite(t, path, number*pageBytes+pageBytes/2, ^whole[number*pageBytes+pageBytes/2])
		if found := Verify(path) != nil; found == waiting[uint32(number)+1] {
			t.Errorf("page %d, which waits: %v, is damaged: %v", number+1, !found, found)
		} else if !found {
			passed++
		}
		overwrite(t, path, number*pageBytes+pageBytes/2, whole[number*pageBytes+pageBytes/2])
	}
	if passed == 0 {
		t.Error("no page waits")
	}
}

func TestWhatHasNoChecksumsIsNotVerified(t *testing.T) {
	folder := t.TempDir()
	must(t, Verify(filepath.Join(folder, "none.db")))
	empty := filepath.Join(folder, "empty.db")
	writeFile(t, empty, nil)
	must(t, Verify(empty))
}

// A kill in the midst of copying leaves a header that tells of pages which only the log has.
func TestAFileAtTheEndOfALinkIsVerifiedWithItsLog(t *testing.T) {
	path, link := filepath.Join(t.TempDir(), "there.db"), filepath.Join(t.TempDir(), "here.db")
	db := open(t, path)
	must(t, exec(db, "CREATE TABLE things (body TEXT NOT NULL)"))
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	before := len(readFile(t, path))
	must(t, exec(db, "INSERT INTO things SELECT hex(randomblob(1000)) FROM generate_series(1, 100)"))
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	crashed := filesOf(t, path)
	must(t, os.Symlink(left(t, map[string][]byte{"": crashed[""][:before], "-wal": crashed["-wal"]}, slices.Clone), link))
	must(t, Verify(link))
}

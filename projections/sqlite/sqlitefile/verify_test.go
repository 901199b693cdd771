package sqlitefile

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
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

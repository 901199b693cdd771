package sqlitefile

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

const frameBytes = frameHeaderBytes + pageBytes

// SQLite itself would leave out rows of both, also those that were in the database long before its log.
func TestAWriteAheadLogThatIsHalfCopiedAndNotWholeAfterACrashIsDamage(t *testing.T) {
	crashed := halfCopied(t)
	for what, change := range damagedLogs {
		t.Run(what, func(t *testing.T) {
			path := left(t, crashed, change)
			for _, err := range []error{look(t, path), Verify(path)} {
				if place := new(Damage); !errors.As(err, &place) || place.File != path+"-wal" {
					t.Errorf("it is told as: %v", err)
				}
			}
		})
	}
	path := left(t, crashed, slices.Clone)
	must(t, Verify(path))
	must(t, look(t, path))
}

func TestAWriteAheadLogThatIsWhollyCopiedIsNotNeededAfterACrash(t *testing.T) {
	crashed, rows := copiedLog(t)
	for what, change := range damagedLogs {
		t.Run(what, func(t *testing.T) {
			path := left(t, crashed, change)
			must(t, Verify(path))
			if content, err := seen(t, path); err != nil || content != rows {
				t.Errorf("something else is read: %v", err)
			}
			must(t, exec(open(t, path), "INSERT INTO things VALUES ('after', 'the crash')"))
			must(t, look(t, path))
		})
	}
}

var damagedLogs = map[string]func(log []byte) []byte{
	"it is missing":             func([]byte) []byte { return nil },
	"it is empty":               func(log []byte) []byte { return log[:0] },
	"its header is cut":         func(log []byte) []byte { return log[:walHeaderBytes/2] },
	"it has no frame":           func(log []byte) []byte { return log[:walHeaderBytes] },
	"half of it is cut off":     func(log []byte) []byte { return log[:walHeaderBytes+len(log)/2/frameBytes*frameBytes] },
	"its last byte is cut off":  func(log []byte) []byte { return log[:len(log)-1] },
	"its magic number flips":    func(log []byte) []byte { return flipped(log, 3) },
	"its page size flips":       func(log []byte) []byte { return flipped(log, 10) },
	"its salt flips":            func(log []byte) []byte { return flipped(log, saltAt+2) },
	"its header's sum flips":    func(log []byte) []byte { return flipped(log, walHeaderBytes-1) },
	"a frame's page flips":      func(log []byte) []byte { return flipped(log, walHeaderBytes+3*frameBytes) },
	"a frame's salt flips":      func(log []byte) []byte { return flipped(log, walHeaderBytes+3*frameBytes+frameSaltAt) },
	"a frame's sum flips":       func(log []byte) []byte { return flipped(log, walHeaderBytes+3*frameBytes+sumAt) },
	"a frame's content flips":   func(log []byte) []byte { return flipped(log, walHeaderBytes+3*frameBytes+1000) },
	"the first's content flips": func(log []byte) []byte { return flipped(log, walHeaderBytes+frameBytes-1) },
	"the last's content flips":  func(log []byte) []byte { return flipped(log, len(log)-1) },
}

// Who still reads what was before keeps the end of the log from being copied. That end may be lost.
func TestDamageBehindWhatWasCopiedEndsTheWriteAheadLogThere(t *testing.T) {
	path, db := beforeCopying(t)
	reader := open(t, path)
	must(t, exec(reader, "BEGIN"))
	var n int
	must(t, reader.QueryRow("SELECT count(*) FROM things").Scan(&n))
	for i := range 20 {
		must(t, exec(db, "INSERT INTO things VALUES (?, 'late')", fmt.Sprint("thing-00500-", i)))
	}
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	crashed := filesOf(t, path)
	must(t, exec(reader, "COMMIT"))
	noted, err := readNote(path)
	must(t, err)
	end := walHeaderBytes + int(noted.frames)*frameBytes
	if end >= len(crashed["-wal"]) || noted.whole {
		t.Fatalf("%+v of %d bytes is noted", noted, len(crashed["-wal"]))
	}
	for _, at := range []int{end, end + 2*frameBytes, len(crashed["-wal"]) - 1} {
		path := left(t, crashed, func(log []byte) []byte { return flipped(log, at) })
		must(t, look(t, path))
		if left, err := count(open(t, path)); err != nil || left < n || left > n+20 {
			t.Errorf("byte %d has flipped, and %d rows of %d and 20 are left: %v", at, left, n, err)
		}
	}
	for what, at := range map[string]int{"the last that was copied": end - 1, "the first": walHeaderBytes + 50} {
		if err := look(t, left(t, crashed, func(log []byte) []byte { return flipped(log, at) })); !errors.Is(err, errDamaged) {
			t.Errorf("%s has flipped: %v", what, err)
		}
	}
}

func TestAnOlderCopyOfAFileIsNotReadWithItsWriteAheadLog(t *testing.T) {
	path, db := beforeCopying(t)
	older := readFile(t, path)
	rows, err := seen(t, copyAt(t, older))
	must(t, err)
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	whole := filesOf(t, path)
	for i := range 5 { // the log begins anew
		must(t, exec(db, "INSERT INTO things VALUES (?, 'newer')", fmt.Sprint("thing-0", i)))
	}
	anew := filesOf(t, path)
	must(t, look(t, left(t, anew, slices.Clone)))

	whole[""], anew[""] = older, older
	for _, copied := range []string{left(t, whole, slices.Clone), left(t, anew, damagedLogs["it is missing"])} {
		must(t, Verify(copied))
		if content, err := seen(t, copied); err != nil || content != rows {
			t.Errorf("something else is read than what is in it: %v", err)
		}
	}
	copied := left(t, anew, slices.Clone)
	for _, err := range []error{look(t, copied), Verify(copied)} {
		if place := new(Damage); !errors.As(err, &place) || place.File != copied+"-wal" {
			t.Errorf("it is told as: %v", err)
		}
	}
}

// It is in shared memory, which a kill leaves in a file, and a power cut in any state.
func TestTheIndexOfAWriteAheadLogThatAKillHasLeftIsNotRead(t *testing.T) {
	path, db := beforeCopying(t)
	rows, err := seen(t, path)
	must(t, err)
	index := readFile(t, path+"-shm")
	crashed := map[string][]byte{"": readFile(t, path), "-wal": readFile(t, path+"-wal")}
	must(t, db.Close())
	for what, content := range map[string][]byte{
		"as it was": index, "empty": {}, "cut off": index[:len(index)/3], "zeros": make([]byte, len(index)),
		"of an older log": slices.Concat(index[96:], index[:96]), "flipped": flipped(index, rand.IntN(len(index))),
	} {
		path := left(t, crashed, slices.Clone)
		writeFile(t, path+"-shm", content)
		if content, err := seen(t, path); err != nil || content != rows {
			t.Errorf("it is %s, and something else is read: %v", what, err)
		}
	}
}

func TestAFlippedBitInTheHeaderIsHarmlessOrFoundWhereThereIsANote(t *testing.T) {
	crashed, rows := copiedLog(t)
	for at := range headerBytes {
		path := left(t, crashed, slices.Clone)
		overwrite(t, path, at, crashed[""][at]^16)
		if content, err := seen(t, path); !errors.Is(err, errDamaged) && content != rows { // else it is in the log, too
			t.Errorf("byte %d has flipped, and something else is read: %v", at, err)
		}
	}
}

func copyAt(t *testing.T, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "copy.db")
	writeFile(t, path, content)
	return path
}

func TestAFlippedBitInANoteIsHarmlessOrFound(t *testing.T) {
	crashed, rows := copiedLog(t)
	for at := range crashed["-copied"] {
		path := left(t, crashed, slices.Clone)
		writeFile(t, path+"-copied", flipped(crashed["-copied"], at))
		for _, err := range []error{look(t, path), Verify(path)} {
			if place := new(Damage); !errors.As(err, &place) || place.File != path+"-copied" {
				t.Errorf("byte %d has flipped: %v", at, err)
			}
		}
	}
	for what, content := range map[string][]byte{"empty": {}, "zeros": make([]byte, noteBytes)} { // before it was written
		path := left(t, crashed, slices.Clone)
		writeFile(t, path+"-copied", content)
		if content, err := seen(t, path); err != nil || content != rows {
			t.Errorf("it is %s, and something else is read: %v", what, err)
		}
	}
}

// A kill may come between any two steps: a log that stands there without its note is believed as far as it
// is sound.
func TestANoteGoesAfterItsWriteAheadLog(t *testing.T) {
	path, db := beforeCopying(t)
	noted := func() bool {
		n, err := readNote(path)
		must(t, err)
		return n != nil && n.whole
	}
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	if !noted() {
		t.Error("there is none when all was copied")
	}
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	if !noted() {
		t.Error("there was none for a moment in which a kill would have left the log")
	}
	must(t, exec(db, "INSERT INTO things VALUES ('once', 'more')"))
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	must(t, db.Close())
	if _, err := os.Stat(path + "-copied"); err == nil {
		t.Error("there is one, and nobody has the file open")
	}
}

// Where an operator has moved a damaged file away, what stood beside it counts no more.
func TestANewFileHasNothingToDoWithANoteThatIsThere(t *testing.T) {
	crashed, _ := copiedLog(t)
	delete(crashed, "")
	for _, change := range []func([]byte) []byte{slices.Clone[[]byte], damagedLogs["it is missing"]} {
		path := left(t, crashed, change)
		fill(t, open(t, path))
		must(t, look(t, path))
	}
}

// beforeCopying is a file with some rows in it, and others in its write-ahead log.
func beforeCopying(t *testing.T) (path string, db *sql.DB) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "used.db")
	db = open(t, path)
	must(t, exec(db, "PRAGMA wal_autocheckpoint = 0"))
	fill(t, db)
	must(t, exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
	for i := range 50 {
		must(t, exec(db, "INSERT INTO things VALUES (?, 'new')", fmt.Sprint(name(i*31), "-new")))
	}
	return path, db
}

// copiedLog is what a crash leaves when all of a write-ahead log was copied, and all rows there are.
func copiedLog(t *testing.T) (crashed map[string][]byte, rows string) {
	t.Helper()
	path, db := beforeCopying(t)
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	rows, err := seen(t, path)
	must(t, err)
	return filesOf(t, path), rows
}

func filesOf(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, end := range []string{"", "-wal", "-copied"} {
		if content, err := os.ReadFile(path + end); !errors.Is(err, fs.ErrNotExist) {
			must(t, err)
			files[end] = content
		}
	}
	return files
}

// halfCopied is what a kill leaves in the midst of copying, which goes by the numbers of the pages.
func halfCopied(t *testing.T) (crashed map[string][]byte) {
	t.Helper()
	path, db := beforeCopying(t)
	before, log := readFile(t, path), readFile(t, path+"-wal")
	n := note{salt: [saltBytes]byte(log[saltAt:]), frames: uint32((len(log) - walHeaderBytes) / frameBytes)}
	must(t, n.addBefore(path, 0))
	must(t, exec(db, "PRAGMA wal_checkpoint(PASSIVE)"))
	half := len(before) / 2 / pageBytes * pageBytes
	return map[string][]byte{
		"": slices.Concat(readFile(t, path)[:half], before[half:]), "-wal": log, "-copied": n.bytes(),
	}
}

// left lays the files that a crash has left, the log with a change.
func left(t *testing.T, crashed map[string][]byte, change func(log []byte) []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "crashed.db")
	files := maps.Clone(crashed)
	files["-wal"] = change(files["-wal"])
	for end, content := range files {
		if content != nil {
			writeFile(t, path+end, content)
		}
	}
	return path
}

func count(db *sql.DB) (n int, err error) {
	err = db.QueryRow("SELECT count(*) FROM things").Scan(&n)
	return n, err
}

// As where the process has no more files to open: it goes on when it has.
func TestANoteThatCannotBeOpenedIsNoDamage(t *testing.T) {
	path, _ := beforeCopying(t)
	file, err := At(path)
	must(t, err)
	db, err := file.Open(Settings{Connections: 1, Writes: true})
	must(t, err)
	defer db.Close()
	must(t, exec(db, "INSERT INTO things VALUES ('more', 'words')"))
	must(t, os.Remove(path+"-copied"))
	must(t, os.Symlink(path+"-copied", path+"-copied"))
	err = exec(db, "PRAGMA wal_checkpoint(PASSIVE)")
	if err == nil || file.Damage(err) != nil || file.Met() != nil || !errors.Is(file.Stuck(t.Context(), db), syscall.ELOOP) {
		t.Errorf("it is told as: %v, %v", err, file.Met())
	}
	must(t, os.Remove(path+"-copied"))
	must(t, file.Stuck(t.Context(), db))
}

// Package sqlitefile opens SQLite files in which a flipped bit is noticed: each page carries a
// checksum, and so does each page that waits in the write-ahead log. A page that is not as it was
// written is an error that names the place, and never a row that is wrong or missing.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"
)

// ours stands in the header of each file whose pages have checksums ("TBK1"): such a file never
// loses them, whatever the header's byte says by which SQLite knows that there are some.
const ours = 0x54424b31

// A File is a place for a SQLite file.
type File struct {
	path      string
	eyes      *checkedVFS
	malformed atomic.Pointer[error] // what SQLite has found out by itself

	mu     sync.Mutex
	cached map[*sqlite3.Conn]int64 // bytes that a connection had in memory when it was asked last
}

// At is the file at path, whether there is one or not.
func At(path string) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the file: %w", err)
	}
	f := &File{path: path, eyes: &checkedVFS{path: path}, cached: map[*sqlite3.Conn]int64{}}
	// The driver finds it by its name, as long as the process runs: connections may outlive their pool.
	vfs.Register(f.eyes.name(), f.eyes)
	return f, nil
}

// Settings are how a file is used.
type Settings struct {
	Pragmas     []string // such as "synchronous(FULL)"
	Connections int      // at most
	Writes      bool     // transactions begin as writers
	Large       bool     // it may be larger than memory, and copies of what is in it may stay on the disk
}

// Open gives connections to the file, which is made, readable by its owner alone, if there is none. Its
// folder must exist. A file whose pages have no checksums gets them: it is written anew once.
func (f *File) Open(s Settings) (*sql.DB, error) {
	if err := touch(f.path); err != nil { // SQLite makes none at the end of a symbolic link
		return nil, err
	}
	sorting := "temp_store(MEMORY)"
	if s.Large {
		sorting = "temp_store(FILE)" // a connection has 256 MiB of memory, and is of no use once it wants more
	}
	settings := url.Values{"vfs": {f.eyes.name()}, "_pragma": append([]string{
		"busy_timeout(10000)", sorting, "journal_mode(WAL)",
	}, s.Pragmas...)}
	if s.Writes {
		settings.Set("_txlock", "immediate")
	}
	name := url.URL{Scheme: "file", OmitHost: true, Path: f.path, RawQuery: settings.Encode()}
	db, err := driver.Open(name.String(), haveChecksums)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(s.Connections)
	db.SetMaxIdleConns(s.Connections)
	return db, nil
}

// Damage is what an error of a connection says of a file that is not as it was written, with the place,
// unless SQLite has found it out by itself, without a checksum; nil if it says nothing of the kind.
func (f *File) Damage(err error) error {
	switch {
	case errors.Is(err, sqlite3.IOERR_DATA):
		if place := f.eyes.met.Load(); place != nil {
			return fmt.Errorf("%w: %w", place, err)
		}
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
	default:
		return nil
	}
	how := fmt.Errorf("%s: %w", f.path, err)
	f.malformed.CompareAndSwap(nil, &how)
	return how
}

// Explained is an error of a connection with what the disk has said, where it could not be written: SQLite
// has but a number for that.
func (f *File) Explained(err error) error {
	if errors.Is(err, sqlite3.IOERR_DATA) || !errors.Is(err, sqlite3.IOERR) && !errors.Is(err, sqlite3.FULL) {
		return err
	}
	if why := f.eyes.unwritten.Swap(nil); why != nil {
		return fmt.Errorf("%w: %w", err, *why)
	}
	return err
}

// Met is damage that any connection has met so far, also where nobody was told: SQLite copies its
// write-ahead log on the side. nil: none was met.
func (f *File) Met() error {
	if place := f.eyes.met.Load(); place != nil {
		return place
	}
	if how := f.malformed.Load(); how != nil {
		return *how
	}
	return nil
}

// Stuck is why the write-ahead log cannot be copied into the file, which makes it longer and longer: SQLite
// tells nobody. nil: it can. Where it could not, it is tried again through one of the file's connections.
func (f *File) Stuck(ctx context.Context, db *sql.DB) error {
	before := f.eyes.stuck.Load()
	if before == nil {
		return nil
	}
	if _, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err == nil {
		f.eyes.stuck.CompareAndSwap(before, nil) // also where there was nothing left to copy
	}
	if why := f.eyes.stuck.Load(); why != nil {
		return fmt.Errorf("copy the write-ahead log into %s: %w", f.path, *why)
	}
	return nil
}

// Cached is how many bytes the connections of these pools have of the file in memory. One that is busy
// counts as it was when it was last seen idle.
func (f *File) Cached(ctx context.Context, pools ...*sql.DB) (bytes int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pool := range pools {
		if err := f.askIdle(ctx, pool); err != nil {
			return 0, fmt.Errorf("ask how much is in memory: %w", err)
		}
	}
	for _, had := range f.cached {
		bytes += had
	}
	return bytes, nil
}

// askIdle asks the idle connections of a pool how much they have in memory. Hold mu.
func (f *File) askIdle(ctx context.Context, pool *sql.DB) (err error) {
	for range pool.Stats().Idle {
		idle, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		defer idle.Close() //nolint:errcheck // it goes back, so that the pool gives another one each time before
		err = idle.Raw(func(c any) error {
			conn := c.(driver.Conn).Raw()
			f.cached[conn], _, err = conn.Status(sqlite3.DBSTATUS_CACHE_USED, false)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Check reads the whole file through one of its connections, and fails when it is not as it was written:
// each page must have its checksum, and indexes must be those of their tables.
func (f *File) Check(ctx context.Context, db *sql.DB) error {
	before := f.eyes.met.Load()
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found); err != nil || found == "ok" {
		return err
	}
	var root int // of the damaged tree
	var tree string
	if at := strings.Index(found, "Tree "); at >= 0 {
		_, _ = fmt.Sscanf(found[at:], "Tree %d", &root) // 0: it is told of in another way
	}
	err := db.QueryRowContext(ctx, "SELECT name FROM sqlite_schema WHERE rootpage = ?", root).Scan(&tree)
	if err == nil {
		found = fmt.Sprintf("%s: %s", tree, found)
	}
	if f.eyes.met.Load() != before {
		return fmt.Errorf("%s: %w", found, sqlite3.IOERR_DATA)
	}
	return fmt.Errorf("%s: %w", found, sqlite3.CORRUPT)
}

const (
	busyTries = 500
	busyPause = 20 * time.Millisecond
)

// haveChecksums makes sure that a new connection's file has checksums. A crash leaves a file without
// them, or with them.
func haveChecksums(c *sqlite3.Conn) error {
	id, err := applicationID(c)
	switch {
	case err != nil:
		return err
	case id == ours:
		return nil
	case id != 0:
		return errForeign(id)
	}
	err = c.EnableChecksums("main")
	for range busyTries {
		if !errors.Is(err, sqlite3.BUSY) { // another connection is at it
			break
		}
		time.Sleep(busyPause)
		err = c.EnableChecksums("main")
	}
	if err != nil {
		return fmt.Errorf("give the file checksums: %w", err)
	}
	return c.Exec(fmt.Sprintf("PRAGMA application_id = %d", ours))
}

func errForeign(id int64) error {
	return fmt.Errorf("the file is another program's: its application_id is %#x", id)
}

func applicationID(c *sqlite3.Conn) (id int64, err error) {
	stmt, _, err := c.Prepare("PRAGMA application_id")
	if err != nil {
		return 0, err
	}
	if stmt.Step() {
		id = stmt.ColumnInt64(0)
	}
	return id, errors.Join(stmt.Err(), stmt.Close())
}

// Damage is a place in a file that is not as it was written, or cannot be read or used.
type Damage struct {
	File string
	From int64 // the place's first byte
	Size int   // of the place
	Why  error // it cannot be read, or used; nil if it can
}

func (d *Damage) Error() string {
	what := "are not as they were written"
	if d.Why != nil {
		what = fmt.Sprintf("cannot be used: %v", d.Why)
	}
	return fmt.Sprintf("bytes %d to %d of %s %s", d.From, d.From+int64(d.Size)-1, d.File, what)
}

func (d *Damage) Unwrap() error { return d.Why }

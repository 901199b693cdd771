package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// checkedVFS is SQLite's way to the disk, with eyes. The driver computes each page's checksum when it
// writes it, in the form of https://sqlite.org/cksumvfs.html; it would check it too, but not name the
// page, not what waits in the write-ahead log, and nothing at all once the one byte has flipped that
// says that there are checksums.
type checkedVFS struct {
	path string                 // of the database
	met  atomic.Pointer[Damage] // the last: SQLite's error loses it

	unwritten atomic.Pointer[error] // why something could not be written last: SQLite's error loses it, too
	stuck     atomic.Pointer[error] // why the last checkpoint has failed: SQLite tells nobody; nil: it has not
}

func (v *checkedVFS) name() string { return fmt.Sprintf("checked-%p", v) }

func (v *checkedVFS) damaged(path string, from int64, size int) error {
	return v.noticed(&Damage{path, from, size, nil})
}

// noticed keeps damage in mind, for which SQLite has but a number.
func (v *checkedVFS) noticed(err error) error {
	place := new(Damage)
	if !errors.As(err, &place) {
		return err
	}
	v.met.Store(place)
	return sqlite3.IOERR_DATA
}

// read reads a file. What the disk cannot read is damage, too.
func (v *checkedVFS) read(file io.ReaderAt, path string, p []byte, off int64) (int, error) {
	n, err := file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, v.noticed(&Damage{path, off, len(p), err})
	}
	return n, err
}

// wrote keeps in mind why something could not be written.
func (v *checkedVFS) wrote(err error) error {
	if err == nil {
		return nil
	}
	v.unwritten.Store(&err)
	if errors.Is(err, syscall.ENOSPC) {
		return sqlite3.FULL
	}
	return err
}

// osFile is what the driver's own files can do, but to be mapped into memory, past all checks.
type osFile interface {
	vfs.FileLockState
	vfs.FilePersistWAL
	vfs.FilePowersafeOverwrite
	vfs.FileSizeHint
	vfs.FileHasMoved
	vfs.FileSharedMemory
}

func (*checkedVFS) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return vfs.Find("").Open(name, flags)
}

// Delete deletes a write-ahead log only when all of it is in the database. Its note goes after it: no log is
// ever without.
func (*checkedVFS) Delete(name string, syncDir bool) error {
	err := vfs.Find("").Delete(name, syncDir)
	if database, isLog := strings.CutSuffix(name, "-wal"); isLog && err == nil {
		err = forgetNote(database)
	}
	return err
}

func (*checkedVFS) Access(name string, flags vfs.AccessFlag) (bool, error) {
	return vfs.Find("").Access(name, flags)
}

func (*checkedVFS) FullPathname(name string) (string, error) { return vfs.Find("").FullPathname(name) }

// OpenFilename opens a file, and has it checked if it is a database or a write-ahead log.
func (v *checkedVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if name == nil {
		file, err := newScratch(v.path)
		if err != nil {
			return nil, flags, err
		}
		return file, flags, nil
	}
	if flags&vfs.OPEN_CREATE != 0 {
		if err := touch(name.String()); err != nil {
			return nil, flags, err
		}
	}
	if flags&vfs.OPEN_MAIN_DB != 0 {
		if err := touch(name.String() + "-shm"); err != nil { // the index of the write-ahead log
			return nil, flags, err
		}
		if info, err := os.Stat(name.String()); err == nil && info.Size() == 0 {
			if err := forgetNote(name.String()); err != nil { // of a file that was moved away
				return nil, flags, err
			}
		}
	}
	file, opened, err := vfs.Find("").(vfs.VFSFilename).OpenFilename(name, flags)
	if err != nil {
		return nil, opened, err
	}
	switch {
	case flags&vfs.OPEN_MAIN_DB != 0:
		return &database{osFile: file.(osFile), eyes: v, path: name.String()}, opened, nil
	case flags&vfs.OPEN_WAL != 0:
		return &wal{osFile: file.(osFile), eyes: v, path: name.String(), database: name.Database()}, opened, nil
	}
	return file, opened, nil
}

// touch makes a file if there is none. The driver would let all read it.
func touch(path string) error {
	const owners = 0o600
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, owners)
	if err != nil {
		return err
	}
	return file.Close()
}

// Parts of a database's header, which begins page 1 (https://sqlite.org/fileformat.html).
const (
	headerBytes     = 100
	reservedAt      = 20 // how many bytes at the end of each page are no content
	applicationIDAt = 68
	checksumBytes   = 8
)

var headerMagic = []byte("SQLite format 3\x00")

// database is a file of pages, which end with their checksums.
type database struct {
	osFile
	eyes   *checkedVFS
	path   string
	summed bool // the pages have checksums

	copying *note  // of the checkpoint under way
	copied  int    // pages, by it
	unnoted error  // why it may copy nothing
	failed  *error // why it could not; nil: it could
}

// CheckpointStart is called before any page of the write-ahead log is copied into the database.
func (d *database) CheckpointStart() {
	n, err := noteCopying(d.path)
	d.copying, d.copied, d.unnoted, d.failed = n, 0, d.eyes.noticed(err), nil
}

// CheckpointDone is called behind the last page, or when one could not be copied.
func (d *database) CheckpointDone() {
	d.unnoted = nil
	d.eyes.stuck.Store(d.failed)
}

// wrote is the checked VFS's. None but a checkpoint writes to a database that has a write-ahead log.
func (d *database) wrote(err error) error {
	if err != nil {
		d.failed = &err
		d.eyes.stuck.Store(&err)
	}
	return d.eyes.wrote(err)
}

// Sync is called when the database has all of the log.
func (d *database) Sync(flags vfs.SyncFlag) error {
	n := d.copying
	d.copying = nil
	err := d.osFile.Sync(flags)
	if err == nil && n != nil {
		err = n.noteWhole(d.path)
	}
	return d.wrote(err)
}

func (d *database) Truncate(size int64) error { return d.wrote(d.osFile.Truncate(size)) }

func (d *database) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.eyes.read(d.osFile, d.path, p, off)
	if off == 0 && n >= headerBytes && bytes.HasPrefix(p, headerMagic) {
		d.summed = p[reservedAt] == checksumBytes
		if !d.summed && binary.BigEndian.Uint32(p[applicationIDAt:]) == ours {
			return 0, d.eyes.damaged(d.path, reservedAt, 1)
		}
	}
	if !d.summed || n < len(p) || !isPage(n) {
		return n, err
	}
	if !isSummed(p[:n]) {
		return 0, d.eyes.damaged(d.path, off, n)
	}
	return n, err
}

func (d *database) WriteAt(p []byte, off int64) (int, error) {
	if d.unnoted != nil {
		return 0, d.wrote(d.unnoted)
	}
	if d.copying != nil && isPage(len(p)) {
		d.copying.add(d.copied, p, off)
		d.copied++
	}
	if off == 0 && len(p) >= headerBytes {
		d.summed = p[reservedAt] == checksumBytes
	}
	n, err := d.osFile.WriteAt(p, off)
	return n, d.wrote(err)
}

// isPage tells whether that many bytes can be a page.
func isPage(size int) bool {
	const least, most = 512, 65536
	return least <= size && size <= most && size&(size-1) == 0
}

// sum is SQLite's checksum, going on from one that there is.
func sum(s1, s2 uint32, b []byte) (uint32, uint32) {
	for ; len(b) >= checksumBytes; b = b[checksumBytes:] {
		s1 += binary.LittleEndian.Uint32(b) + s2
		s2 += binary.LittleEndian.Uint32(b[4:]) + s1
	}
	return s1, s2
}

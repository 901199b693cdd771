package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"truebond/events/ondisk"
)

// A note says how much of a write-ahead log may have been copied into the database. It is on the disk
// before the first page is. SQLite would take such a log, where it is damaged or cut off later, for one
// that ends there: the pages before that place, and those that were copied from behind it, are of two ages
// then, rows are missing between them, and all checksums are right.
type note struct {
	salt   [saltBytes]byte // of the log: it gets another one when it begins anew, after all of it was copied
	frames uint32          // from its beginning
	whole  bool            // all of them are in the database, which can do without them

	// Some of the pages that were copied, by which the database is known again: an older one in its place
	// would be another half of two ages.
	pages [2 * pagesNoted]notedPage
}

// notedPage is a page's number, from 1 on, with its checksum.
type notedPage struct {
	number uint32
	sum    [checksumBytes]byte
}

const (
	pagesNoted  = 8 // the first of them, and as many of the last; those that change with every commit are among the first
	saltBytes   = 8
	saltAt      = 16 // in the log's header
	frameSaltAt = 8  // in a frame's header

	framesAt   = saltBytes
	wholeAt    = framesAt + 4
	pagesAt    = wholeAt + 4
	notedBytes = 4 + checksumBytes
	noteSumAt  = pagesAt + 2*pagesNoted*notedBytes
	noteBytes  = noteSumAt + 4 // less than a sector: all of it is written, or nothing
)

// notePath is where a database has its note. There is none where nobody has copied anything since the
// log was removed.
func notePath(database string) string { return database + "-copied" }

func readNote(database string) (*note, error) {
	path := notePath(database)
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &Damage{path, 0, noteBytes, err}
	case bytes.Count(content, []byte{0}) == len(content):
		return nil, nil // a crash came before it was written, or after it was done with
	case len(content) != noteBytes,
		crc32.ChecksumIEEE(content[:noteSumAt]) != binary.LittleEndian.Uint32(content[noteSumAt:]):
		return nil, &Damage{path, 0, noteBytes, nil}
	}
	n := note{
		salt:   [saltBytes]byte(content),
		frames: binary.LittleEndian.Uint32(content[framesAt:]),
		whole:  content[wholeAt] != 0,
	}
	for i := range n.pages {
		page := content[pagesAt+i*notedBytes:]
		n.pages[i] = notedPage{binary.LittleEndian.Uint32(page), [checksumBytes]byte(page[4:])}
	}
	return &n, nil
}

func (n *note) bytes() []byte {
	content := make([]byte, noteBytes)
	copy(content, n.salt[:])
	binary.LittleEndian.PutUint32(content[framesAt:], n.frames)
	if n.whole {
		content[wholeAt] = 1
	}
	for i, p := range n.pages {
		page := content[pagesAt+i*notedBytes:]
		binary.LittleEndian.PutUint32(page, p.number)
		copy(page[4:], p.sum[:])
	}
	binary.LittleEndian.PutUint32(content[noteSumAt:], crc32.ChecksumIEEE(content[:noteSumAt]))
	return content
}

// add notes a page that is the i-th to be copied.
func (n *note) add(i int, page []byte, off int64) {
	if i >= pagesNoted {
		i = pagesNoted + i%pagesNoted
	}
	n.pages[i] = notedPage{uint32(off/int64(len(page))) + 1, [checksumBytes]byte(page[len(page)-checksumBytes:])}
}

// voidNote is for when the log is about to be made empty, and all of it is in the database. It is on the disk
// then: after a power cut, the log would be gone and its note there.
func voidNote(database string) error {
	err := putNote(notePath(database), make([]byte, noteBytes), syscall.O_DSYNC)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// forgetNote is for when the log is about to be removed.
func forgetNote(database string) error {
	if err := voidNote(database); err != nil {
		return err
	}
	if err := os.Remove(notePath(database)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func putNote(path string, content []byte, how int) error {
	file, err := os.OpenFile(path, os.O_RDWR|how, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	return errors.Join(err, file.Close())
}

// Parts of the index of a write-ahead log (https://sqlite.org/walformat.html), which stands in shared memory.
const (
	indexSaltAt    = 32
	indexCopyingAt = 128 // how many frames whoever copies has said that it will have copied
	indexBytes     = 136
)

// noteCopying notes what a checkpoint that has begun will have copied at its end.
func noteCopying(database string) (*note, error) {
	n, err := copying(database)
	if err != nil {
		return nil, err
	}
	before, err := readNote(database)
	if err != nil {
		return nil, err
	}
	if before != nil && before.salt == n.salt {
		n.frames = max(n.frames, before.frames) // after a crash, who copies begins anew
		if !before.whole && before.frames == n.frames {
			return n, nil // it says so: who still reads keeps the rest from being copied
		}
	}
	path := notePath(database)
	_, missing := os.Lstat(path)
	if err := touch(path); err != nil {
		return nil, err
	}
	if err := putNote(path, n.bytes(), syscall.O_DSYNC); err != nil || missing == nil {
		return n, err
	}
	return n, ondisk.Sync(filepath.Dir(path))
}

// copying is what the checkpoint under way will have copied, as the index of the log says.
func copying(database string) (*note, error) {
	file, err := os.Open(database + "-shm")
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	var index [indexBytes]byte
	if _, err := file.ReadAt(index[:], 0); err != nil {
		return nil, fmt.Errorf("read the index of the write-ahead log: %w", err)
	}
	n := note{salt: [saltBytes]byte(index[indexSaltAt:]), frames: binary.LittleEndian.Uint32(index[indexCopyingAt:])}
	if n.frames == 0 {
		return nil, errors.New("the index of the write-ahead log does not say what is copied")
	}
	return &n, nil
}

// noteWhole notes that the database, which is on the disk, has all of the log.
func (n *note) noteWhole(database string) error {
	n.whole = true
	return putNote(notePath(database), n.bytes(), 0)
}

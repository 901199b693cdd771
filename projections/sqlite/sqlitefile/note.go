package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	next   [nextBytes]byte // of the next log's salt, once it has begun; zero: it has not, or others have begun it

	// Of some pages, while not the whole is copied, how they were before: the log cannot be done without while
	// one still is so. Afterwards, of some that were copied, how they are now, by which the database is known
	// again: an older one in its place would be another half of two ages.
	pages [2 * pagesNoted]notedPage
}

// notedPage is a page's number, from 1 on, with its checksum; that is zero where there is no such page.
type notedPage struct {
	number uint32
	sum    [checksumBytes]byte
}

func (p notedPage) at(size int) int64 { return int64(p.number-1) * int64(size) }

const (
	pagesNoted    = 8 // of both ends, where those that change with every commit are among the first
	saltBytes     = 8
	nextBytes     = 3
	nextSaltAt    = 4  // in a salt: its random half
	walPageSizeAt = 8  // in the log's header
	saltAt        = 16 // there, too
	frameSaltAt   = 8  // in a frame's header

	framesAt   = saltBytes
	wholeAt    = framesAt + 4
	nextAt     = wholeAt + 1
	pagesAt    = nextAt + nextBytes
	notedBytes = 4 + checksumBytes
	noteSumAt  = pagesAt + 2*pagesNoted*notedBytes
	noteBytes  = noteSumAt + 4 // less than a sector: all of it is written, or nothing
)

// notePath is where a database has its note. There is none where nobody has copied anything since the
// log was removed.
func notePath(database string) string { return database + "-copied" }

func readNote(database string) (*note, error) {
	path := notePath(database)
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil: // such as too many open files
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	content, err := io.ReadAll(file)
	switch {
	case err != nil:
		return nil, &Damage{path, 0, noteBytes, err}
	case bytes.Count(content, []byte{0}) == len(content):
		return nil, nil // a crash came before it was written
	case len(content) != noteBytes,
		crc32.ChecksumIEEE(content[:noteSumAt]) != binary.LittleEndian.Uint32(content[noteSumAt:]):
		return nil, &Damage{path, 0, noteBytes, nil}
	}
	n := note{
		salt:   [saltBytes]byte(content),
		frames: binary.LittleEndian.Uint32(content[framesAt:]),
		whole:  content[wholeAt] != 0,
		next:   [nextBytes]byte(content[nextAt:]),
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
	copy(content[nextAt:], n.next[:])
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

// forgetNote is for when there is no log any more.
func forgetNote(database string) error {
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
	indexCopiedAt  = 96  // how many frames are in the database
	indexCopyingAt = 128 // how many frames whoever copies has said that it will have copied
	indexBytes     = 136
)

// noteCopying notes what a checkpoint that has begun will have copied at its end.
func noteCopying(database string) (*note, error) {
	n, copied, err := copying(database)
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
	if err := n.addBefore(database, copied); err != nil {
		return nil, err
	}
	path := notePath(database)
	_, missing := os.Lstat(path)
	if err := touch(path); err != nil {
		return nil, err
	}
	err = putNote(path, n.bytes(), syscall.O_DSYNC)
	if err == nil && missing != nil {
		err = ondisk.Sync(filepath.Dir(path))
	}
	n.pages = [2 * pagesNoted]notedPage{} // those to come are as they are afterwards
	return n, err
}

// copying is what the checkpoint under way will have copied, and how many frames others have, as the index of
// the log says.
func copying(database string) (n *note, copied uint32, err error) {
	file, err := os.Open(database + "-shm")
	if err != nil {
		return nil, 0, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	var index [indexBytes]byte
	if _, err := file.ReadAt(index[:], 0); err != nil {
		return nil, 0, fmt.Errorf("read the index of the write-ahead log: %w", err)
	}
	n = &note{salt: [saltBytes]byte(index[indexSaltAt:]), frames: binary.LittleEndian.Uint32(index[indexCopyingAt:])}
	if n.frames == 0 {
		return nil, 0, errors.New("the index of the write-ahead log does not say what is copied")
	}
	return n, binary.LittleEndian.Uint32(index[indexCopiedAt:]), nil
}

// addBefore notes the last pages that are about to be copied, where copying them will change them. They are
// copied in their order.
func (n *note) addBefore(database string, copied uint32) error {
	log, err := os.Open(database + "-wal")
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // it is only read
	file, err := os.Open(database)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it is only read
	frames, size, err := n.framesOf(log, copied)
	if err != nil {
		return err
	}
	noted := 0
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(frames))) {
		before := notedPage{number: number}
		if before.sum, err = sumOf(file, before.at(size), size); err != nil {
			return err
		}
		after, err := sumOf(log, frames[number]+frameHeaderBytes, size)
		if err != nil {
			return err
		}
		if before.sum == after { // it was copied before a crash
			continue
		}
		n.pages[noted] = before
		if noted++; noted == len(n.pages) {
			break
		}
	}
	return nil
}

// framesOf are the places in the log of the last frame of each page, among those that were noted, behind some
// that were copied.
func (n *note) framesOf(log *os.File, copied uint32) (frames map[uint32]int64, size int, err error) {
	header := make([]byte, walHeaderBytes)
	if _, err := log.ReadAt(header, 0); err != nil {
		return nil, 0, err
	}
	frames, size = map[uint32]int64{}, int(binary.BigEndian.Uint32(header[walPageSizeAt:]))
	if !isPage(size) {
		return nil, 0, &Damage{log.Name(), 0, walHeaderBytes, nil}
	}
	for i := copied; i < n.frames; i++ {
		at := walHeaderBytes + int64(i)*int64(frameHeaderBytes+size)
		if _, err := log.ReadAt(header[:frameHeaderBytes], at); err != nil {
			return nil, 0, err
		}
		frames[binary.BigEndian.Uint32(header)] = at
	}
	return frames, size, nil
}

// sumOf is the checksum that a page has or would have, in the log too, where SQLite has not computed it yet.
func sumOf(file io.ReaderAt, at int64, size int) (is [checksumBytes]byte, err error) {
	page := make([]byte, size)
	if _, err := file.ReadAt(page, at); errors.Is(err, io.EOF) {
		return is, nil
	} else if err != nil {
		return is, err
	}
	s1, s2 := sum(0, 0, page[:size-checksumBytes])
	binary.LittleEndian.PutUint32(is[:], s1)
	binary.LittleEndian.PutUint32(is[4:], s2)
	return is, nil
}

// noteWhole notes that the database, which is on the disk, has all of the log.
func (n *note) noteWhole(database string) error {
	n.whole = true
	return putNote(notePath(database), n.bytes(), 0)
}

// noteNext notes which log is about to begin, with that header, where the last one stands. A power cut may undo
// that: then nothing is known of it. So it is when others have gone on with the last one since, or removed it.
func noteNext(database string, last io.ReaderAt, header []byte) error {
	n, err := readNote(database)
	if n == nil || err != nil {
		return err
	}
	salt, page := header[saltAt:], int64(binary.BigEndian.Uint32(header[walPageSizeAt:]))
	var frame [frameHeaderBytes]byte
	_, err = last.ReadAt(frame[:], walHeaderBytes+int64(n.frames)*(frameHeaderBytes+page))
	isMore := err == nil && n.has(frame[:])
	if !n.whole || isMore || binary.BigEndian.Uint32(salt) != binary.BigEndian.Uint32(n.salt[:])+1 {
		return nil
	}
	n.next = [nextBytes]byte(salt[nextSaltAt:])
	return putNote(notePath(database), n.bytes(), 0)
}

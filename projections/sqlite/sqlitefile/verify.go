package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Parts of a database's header.
const (
	pageSizeAt   = 16 // in two bytes; 1 stands for 65,536
	pagesCountAt = 28
)

// Verify reads a file that nobody has open, changes nothing, and fails with a Damage when a page is not as it
// was written, or the write-ahead log lacks what the file needs. A file that is not there, or has no checksums
// yet, is passed over; so are pages that wait in the write-ahead log: a power cut may have left half of one in
// the file.
func Verify(path string) error {
	path, err := filepath.EvalSymlinks(path) // its log stands beside the file itself
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it is only read
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(file, header); errors.Is(err, io.EOF) {
		return nil // it was just made
	} else if err != nil {
		return &Damage{path, 0, headerBytes, err}
	}
	size := pageSize(header)
	switch isOurs := binary.BigEndian.Uint32(header[applicationIDAt:]) == ours; {
	case !bytes.HasPrefix(header, headerMagic), !isPage(size):
		return &Damage{path, 0, headerBytes, nil}
	case header[reservedAt] != checksumBytes && isOurs:
		return &Damage{path, reservedAt, 1, nil}
	case header[reservedAt] != checksumBytes:
		return nil
	}
	waiting, err := waitingPages(path, size)
	if err != nil {
		return err
	}
	if err := verifyPages(file, path, header, waiting); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	is := uint32(info.Size() / int64(size))
	for number := is + 1; number <= binary.BigEndian.Uint32(header[pagesCountAt:]); number++ {
		if !waiting[number] {
			return &Damage{path, int64(is) * int64(size), size, errCutOff}
		}
	}
	return nil
}

var errCutOff = errors.New("the file is cut off there")

func pageSize(header []byte) int {
	if size := int(binary.BigEndian.Uint16(header[pageSizeAt:])); size != 1 {
		return size
	}
	return 1 << 16
}

func verifyPages(file *os.File, path string, header []byte, waiting map[uint32]bool) error {
	size := pageSize(header)
	free, err := freePages(file, header)
	if err != nil {
		return err
	}
	free[lockedAt/uint32(size)+1] = true
	const atOnce = 256
	pages := make([]byte, atOnce*size)
	for at := int64(0); ; at += int64(len(pages)) {
		n, err := file.ReadAt(pages, at)
		for from := 0; from+size <= n; from += size {
			page, place := pages[from:from+size], at+int64(from)
			number := uint32(place/int64(size)) + 1
			empty := isEmpty(page) && (free[number] || len(waiting) > 0) // what is free may wait, too
			if !isSummed(page) && !waiting[number] && !empty {
				return &Damage{path, place, size, nil}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &Damage{path, at + int64(n-n%size), size, err}
		}
	}
}

// lockedAt is a byte that other processes lock. SQLite leaves its page empty.
const lockedAt = 1 << 30

// freePages are the numbers of the pages that have no content, as far as the file itself tells. They are
// empty where SQLite was told to delete for good.
func freePages(file io.ReaderAt, header []byte) (map[uint32]bool, error) {
	const firstAt, listAt = 32, 8 // in the header, and in a page that lists others: the next such, how many, their numbers
	free := map[uint32]bool{}
	page := make([]byte, pageSize(header))
	for list := binary.BigEndian.Uint32(header[firstAt:]); list != 0 && !free[list]; {
		free[list] = true
		_, err := file.ReadAt(page, int64(list-1)*int64(len(page)))
		if errors.Is(err, io.EOF) {
			return free, nil
		}
		if err != nil {
			return nil, err
		}
		list = binary.BigEndian.Uint32(page)
		count := min(binary.BigEndian.Uint32(page[4:]), uint32(len(page)-listAt-checksumBytes)/4)
		for i := range count {
			free[binary.BigEndian.Uint32(page[listAt+4*i:])] = true
		}
	}
	return free, nil
}

// waitingPages are the numbers of the pages that a file's write-ahead log has.
func waitingPages(path string, size int) (map[uint32]bool, error) {
	var log io.ReaderAt = bytes.NewReader(nil)
	var logSize int64
	file, err := os.Open(path + "-wal")
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		defer file.Close() //nolint:errcheck // it is only read
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		log, logSize = file, info.Size()
	}
	needless, err := checkLog(log, logSize, path)
	if needless || err != nil {
		return nil, err
	}
	return pagesIn(log, size)
}

// pagesIn are the numbers of the pages in a write-ahead log.
func pagesIn(log io.ReaderAt, size int) (map[uint32]bool, error) {
	waiting := map[uint32]bool{}
	return waiting, eachFrame(log, size, func(_ int64, header []byte) error {
		waiting[binary.BigEndian.Uint32(header)] = true
		return nil
	})
}

// eachFrame goes through the headers of a log's frames. Frames of another salt are left from before.
func eachFrame(log io.ReaderAt, size int, do func(at int64, header []byte) error) error {
	var header [walHeaderBytes]byte
	_, err := log.ReadAt(header[:], 0)
	for at := int64(walHeaderBytes); err == nil; at += int64(frameHeaderBytes + size) {
		var frame [frameHeaderBytes]byte
		if _, err = log.ReadAt(frame[:], at); err == nil &&
			bytes.Equal(frame[frameSaltAt:frameSaltAt+saltBytes], header[saltAt:saltAt+saltBytes]) {
			err = do(at, frame[:])
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// isSummed tells whether a page ends with its checksum. That of one which is empty is zero: nobody has written it.
func isSummed(page []byte) bool {
	end := len(page) - checksumBytes
	s1, s2 := sum(0, 0, page[:end])
	return s1 == binary.LittleEndian.Uint32(page[end:]) && s2 == binary.LittleEndian.Uint32(page[end+4:]) &&
		(s1 != 0 || s2 != 0)
}

func isEmpty(page []byte) bool { return len(bytes.TrimLeft(page, "\x00")) == 0 }

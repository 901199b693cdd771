package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
)

const pageSizeAt = 16 // in a database's header, in two bytes; 1 stands for 65,536

// Verify reads a file that nobody has open, changes nothing, and fails with a Damage when a page is not as it
// was written, or the write-ahead log lacks what the file needs. A file that is not there, or has no checksums
// yet, is passed over; so are pages that wait in the write-ahead log: a power cut may have left half of one in
// the file.
func Verify(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
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
	return verifyPages(file, path, size, waiting)
}

func pageSize(header []byte) int {
	if size := int(binary.BigEndian.Uint16(header[pageSizeAt:])); size != 1 {
		return size
	}
	return 1 << 16
}

func verifyPages(file *os.File, path string, size int, waiting map[uint32]bool) error {
	const atOnce = 256
	pages := make([]byte, atOnce*size)
	for at := int64(0); ; at += int64(len(pages)) {
		n, err := file.ReadAt(pages, at)
		for from := 0; from+size <= n; from += size {
			place := at + int64(from)
			if !isSummed(pages[from:from+size]) && !waiting[uint32(place/int64(size))+1] {
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

// pagesIn are the numbers of the pages in a write-ahead log. Frames of another salt are left from before.
func pagesIn(log io.ReaderAt, size int) (map[uint32]bool, error) {
	waiting := map[uint32]bool{}
	var header [walHeaderBytes]byte
	_, err := log.ReadAt(header[:], 0)
	for at := int64(walHeaderBytes); err == nil; at += int64(frameHeaderBytes + size) {
		var frame [frameHeaderBytes]byte
		if _, err = log.ReadAt(frame[:], at); err == nil &&
			bytes.Equal(frame[frameSaltAt:frameSaltAt+saltBytes], header[saltAt:saltAt+saltBytes]) {
			waiting[binary.BigEndian.Uint32(frame[:])] = true
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return waiting, nil
}

// isSummed tells whether a page ends with its checksum.
func isSummed(page []byte) bool {
	end := len(page) - checksumBytes
	s1, s2 := sum(0, 0, page[:end])
	return s1 == binary.LittleEndian.Uint32(page[end:]) && s2 == binary.LittleEndian.Uint32(page[end+4:])
}

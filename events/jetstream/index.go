package jetstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// trustsIndex tells whether the server will trust its index: it must be whole, and end with
// the hash of the last record.
func (b blocks) trustsIndex(last int) (bool, error) {
	index, err := b.index()
	if err != nil || index == nil {
		return false, err
	}
	block, _, err := b.read(last)
	if err != nil {
		return false, err
	}
	return len(block) >= recordHash && bytes.HasSuffix(index, block[len(block)-recordHash:]), nil
}

// index is what the server has noted of its blocks, without its own hash; nil where there is none that is whole.
func (b blocks) index() ([]byte, error) {
	index, err := os.ReadFile(filepath.Join(string(b), "index.db"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EIO) {
		return nil, nil
	}
	if err != nil || len(index) < 2*recordHash {
		return nil, err
	}
	sum := len(index) - recordHash
	h := hasher(streamName)
	_, _ = h.Write(index[:sum])
	if !bytes.Equal(h.Sum(nil), index[sum:]) {
		return nil, nil
	}
	return index[:sum], nil
}

// lastIndexed is the last event that an index tells of: it begins with two bytes, how many there are, how many bytes
// they have, the first one, its time, and the last one.
func lastIndexed(index []byte) (last uint64) {
	at := 2
	for range 5 { // the time is signed: its value would be another one, its length is the same
		if at >= len(index) {
			return 0
		}
		number, length := binary.Uvarint(index[at:])
		if length <= 0 {
			return 0
		}
		last, at = number, at+length
	}
	return last
}

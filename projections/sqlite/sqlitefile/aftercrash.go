package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// checkLog looks, after a crash, whether a write-ahead log and its database belong together, as far as the
// note tells. It fails with a Damage when the two would be of two ages; needless: the database has all that
// was noted, and is better off without the log.
func checkLog(log io.ReaderAt, size int64, database string) (needless bool, err error) {
	n, err := readNote(database)
	if n == nil || err != nil {
		return false, err
	}
	found := n.look(log, size, database+"-wal")
	switch {
	case found.damage != nil && (found.lacking || !n.whole):
		return false, found.damage
	case !n.whole:
		return false, nil
	}
	others, err := n.isOthers(database)
	switch {
	case err != nil:
		return false, err
	case !found.lacking:
		return others || found.damage != nil, nil
	case others:
		return false, &Damage{database + "-wal", 0, walHeaderBytes, errOthers}
	default:
		return false, nil
	}
}

var errOthers = errors.New("they belong to a database that was replaced; if it was on purpose, remove this log")

// A finding is what there is of a write-ahead log.
type finding struct {
	damage  *Damage // the first, in the part that was noted; nil: there is none
	lacking bool    // it has what the database lacks: more than was noted, or all of it, as it has begun anew
}

func (n *note) look(log io.ReaderAt, size int64, path string) finding {
	header := make([]byte, walHeaderBytes)
	if size < walHeaderBytes {
		return finding{damage: &Damage{path, 0, walHeaderBytes, nil}}
	}
	if _, err := log.ReadAt(header, 0); err != nil {
		return finding{damage: &Damage{path, 0, walHeaderBytes, err}}
	}
	const pageSizeAt, headerSumAt = 8, walHeaderBytes - checksumBytes
	page := int(binary.BigEndian.Uint32(header[pageSizeAt:]))
	switch {
	case !isPage(page), !isSum(header[headerSumAt:], 0, 0, header[:headerSumAt]):
		return finding{damage: &Damage{path, 0, walHeaderBytes, nil}}
	case !bytes.Equal(header[saltAt:saltAt+saltBytes], n.salt[:]):
		return finding{lacking: size > walHeaderBytes}
	}
	frame := make([]byte, frameHeaderBytes+page)
	before := header[headerSumAt:]
	end := walHeaderBytes + int64(n.frames)*int64(len(frame))
	var found finding
	for at := int64(walHeaderBytes); at < end && found.damage == nil; at += int64(len(frame)) {
		_, err := log.ReadAt(frame, at)
		switch {
		case errors.Is(err, io.EOF): // it is cut off
			found.damage = &Damage{path, at, len(frame), nil}
		case err != nil || !n.has(frame) || !follows(before, frame[:frameHeaderBytes], frame[frameHeaderBytes:]):
			found.damage = &Damage{path, at, len(frame), err}
		}
		before = bytes.Clone(frame[sumAt:frameHeaderBytes])
	}
	_, err := log.ReadAt(frame[:frameHeaderBytes], end)
	found.lacking = err == nil && n.has(frame)
	return found
}

// has tells whether a frame belongs to the log. Others are left from before it began anew.
func (n *note) has(frame []byte) bool {
	return bytes.Equal(frame[frameSaltAt:frameSaltAt+saltBytes], n.salt[:])
}

// isOthers tells whether the database is not the one that the log was copied into. A page that is damaged is
// no sign of it: who reads that will tell.
func (n *note) isOthers(database string) (bool, error) {
	file, err := os.Open(database)
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	header := make([]byte, headerBytes)
	if _, err := file.ReadAt(header, 0); err != nil {
		return false, &Damage{database, 0, headerBytes, err}
	}
	size := pageSize(header)
	if !isPage(size) {
		return false, &Damage{database, 0, headerBytes, nil}
	}
	page := make([]byte, size)
	for _, p := range n.pages {
		if p.number == 0 {
			continue
		}
		_, err := file.ReadAt(page, int64(p.number-1)*int64(len(page)))
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err == nil && isSummed(page) && !bytes.Equal(page[len(page)-checksumBytes:], p.sum[:]):
			return true, nil
		}
	}
	return false, nil
}

package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
)

// checkLog looks, after a crash, whether a write-ahead log and its database belong together, as far as the
// note tells. It fails with a Damage when the two would be of two ages; needless: the database has all that
// was noted, and is better off without the log. Others that write no notes may have used both since: another
// version of the program, or a tool.
func checkLog(log io.ReaderAt, size int64, database string) (needless bool, err error) {
	n, err := readNote(database)
	if n == nil || err != nil {
		return false, err
	}
	found := n.look(log, size, database+"-wal")
	switch {
	case found.others:
		return false, nil
	case size == 0 && !n.whole: // others remove or empty it when all was copied
		lost, err := n.isUncopied(database)
		if err == nil && lost {
			err = found.damage
		}
		return err == nil, err
	case found.damage != nil && (found.lacking || !n.whole):
		return false, found.damage
	case !n.whole:
		return false, nil
	}
	replaced, err := n.isReplaced(database, log)
	switch {
	case err != nil:
		return false, err
	case !found.lacking:
		return replaced || found.damage != nil, nil
	case replaced:
		return false, &Damage{database + "-wal", 0, walHeaderBytes, errReplaced}
	default:
		return false, nil
	}
}

var errReplaced = errors.New("they belong to a database that was replaced; if it was on purpose, remove this log")

// A finding is what there is of a write-ahead log.
type finding struct {
	damage  error // the first, in the part that was noted; nil: there is none
	lacking bool  // it has what the database lacks: more than was noted, or all of it, as it has begun anew
	others  bool  // have begun it: the note is about another one
}

func (n *note) look(log io.ReaderAt, size int64, path string) finding {
	header := make([]byte, walHeaderBytes)
	if size < walHeaderBytes {
		return finding{damage: &Damage{path, 0, walHeaderBytes, nil}}
	}
	if _, err := log.ReadAt(header, 0); err != nil {
		return finding{damage: &Damage{path, 0, walHeaderBytes, err}}
	}
	const headerSumAt = walHeaderBytes - checksumBytes
	page := int(binary.BigEndian.Uint32(header[walPageSizeAt:]))
	switch {
	case !isPage(page), !isSum(header[headerSumAt:], 0, 0, header[:headerSumAt]):
		return finding{damage: &Damage{path, 0, walHeaderBytes, nil}}
	case !bytes.Equal(header[saltAt:saltAt+saltBytes], n.salt[:]):
		return finding{lacking: size > walHeaderBytes, others: !n.isNext(header[saltAt:])}
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

// isNext tells by its salt whether a log is the one that was begun next. It need not be noted yet.
func (n *note) isNext(salt []byte) bool {
	return n.next != [nextBytes]byte{} && bytes.Equal(salt[nextSaltAt:nextSaltAt+nextBytes], n.next[:])
}

// isUncopied tells whether the database still has a page as it was before a newer one was to be copied there.
func (n *note) isUncopied(database string) (bool, error) {
	file, size, err := openPages(database)
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	for _, p := range n.pages {
		if p.number == 0 {
			continue
		}
		if now, err := sumOf(file, p.at(size), size); err != nil || now == p.sum {
			return err == nil, err
		}
	}
	return false, nil
}

// isReplaced tells whether the database is not the one that the log was copied into. A page that is damaged is
// no sign of it: who reads that will tell. Nor is one that others have copied from the log since.
func (n *note) isReplaced(database string, log io.ReaderAt) (bool, error) {
	file, size, err := openPages(database)
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	var changed []notedPage
	page := make([]byte, size)
	for _, p := range n.pages {
		if p.number == 0 {
			continue
		}
		now := notedPage{number: p.number}
		switch _, err := file.ReadAt(page, p.at(size)); {
		case errors.Is(err, io.EOF):
		case err != nil || !isSummed(page):
			continue
		default:
			now.sum = [checksumBytes]byte(page[size-checksumBytes:])
		}
		if now != p {
			changed = append(changed, now)
		}
	}
	if len(changed) == 0 {
		return false, nil
	}
	copied, end, err := versionsIn(log, size)
	for _, p := range changed {
		if isCutOff := p.sum == [checksumBytes]byte{} && p.number > end; !copied[p] && !isCutOff {
			return true, err
		}
	}
	return false, err
}

// versionsIn are the pages of a log, each as often as it is there, and the number of pages to which it shortens
// the database.
func versionsIn(log io.ReaderAt, size int) (versions map[notedPage]bool, end uint32, err error) {
	versions, end = map[notedPage]bool{}, math.MaxUint32
	err = eachFrame(log, size, func(at int64, header []byte) error {
		is, err := sumOf(log, at+frameHeaderBytes, size)
		versions[notedPage{binary.BigEndian.Uint32(header), is}] = true
		if pages := binary.BigEndian.Uint32(header[commitAt:]); pages != 0 {
			end = min(end, pages)
		}
		return err
	})
	return versions, end, err
}

func openPages(database string) (file *os.File, size int, err error) {
	file, err = os.Open(database)
	if err != nil {
		return nil, 0, err
	}
	header := make([]byte, headerBytes)
	_, err = file.ReadAt(header, 0)
	size = pageSize(header)
	if err != nil || !isPage(size) {
		return nil, 0, errors.Join(&Damage{database, 0, headerBytes, err}, file.Close())
	}
	return file, size, nil
}

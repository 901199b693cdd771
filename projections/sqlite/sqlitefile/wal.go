package sqlitefile

import (
	"encoding/binary"

	"github.com/ncruces/go-sqlite3/vfs"
)

// A write-ahead log is a header and frames; a frame is a header and a page. Checksums go on from one
// frame to the next, and stand at the end of each header.
const (
	walHeaderBytes   = 32
	frameHeaderBytes = 24
	commitAt         = 4 // in a frame's header: how many pages the database has then; 0: a transaction has no end there
	summedBytes      = 8 // of a frame's header
	sumAt            = frameHeaderBytes - checksumBytes
)

// wal is a write-ahead log. SQLite checks its frames after a crash only; what they hold would then be
// copied into the database, and get a checksum that is right.
type wal struct {
	osFile
	eyes     *checkedVFS
	path     string
	database string
	// Where a transaction writes a page again that it has written already, SQLite puts off the checksums
	// from this frame on until it ends. None but the writer sees these frames. 0: there are none.
	unsummedFrom int64
	headerAt     int64 // the frame header that was written last
}

// Size is asked by SQLite when it is about to look, after a crash, how much of the log is sound.
func (w *wal) Size() (int64, error) {
	size, err := w.osFile.Size()
	if err != nil {
		return 0, err
	}
	needless, err := checkLog(w.osFile, size, w.database)
	if err != nil || needless {
		return 0, w.eyes.noticed(err)
	}
	return size, nil
}

// Truncate is called when all of the log is in the database. The note stays: one that is whole says so, and a
// kill before the log is empty would leave it without.
func (w *wal) Truncate(size int64) error { return w.eyes.wrote(w.osFile.Truncate(size)) }

// Sync is called before any of the log is copied, and for each commit where that is to be on the disk.
func (w *wal) Sync(flags vfs.SyncFlag) error {
	err := w.osFile.Sync(flags)
	if err != nil {
		w.eyes.stuck.Store(&err)
	}
	return w.eyes.wrote(err)
}

func (w *wal) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.eyes.read(w.osFile, w.path, p, off)
	header := off - frameHeaderBytes
	if n < len(p) || !isFrame(header, n) || w.unsummedFrom != 0 && header >= w.unsummedFrom {
		return n, err
	}
	var before [checksumBytes]byte // of the frame before, or of the log's header
	var frame [frameHeaderBytes]byte
	beforeAt := header - checksumBytes
	if header > walHeaderBytes {
		beforeAt = header - int64(n) - checksumBytes
	}
	if _, err := w.eyes.read(w.osFile, w.path, before[:], beforeAt); err != nil {
		return 0, err
	}
	if _, err := w.eyes.read(w.osFile, w.path, frame[:], header); err != nil {
		return 0, err
	}
	if !follows(before[:], frame[:], p[:n]) {
		return 0, w.eyes.damaged(w.path, beforeAt, int(off-beforeAt)+n)
	}
	return n, err
}

func (w *wal) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case off == 0 && len(p) == walHeaderBytes:
		if err := noteNext(w.database, w.osFile, p); err != nil {
			return 0, w.eyes.wrote(err)
		}
	case len(p) == frameHeaderBytes:
		w.headerAt = off
		if off <= w.unsummedFrom {
			w.unsummedFrom = 0
		}
	case isFrame(off-frameHeaderBytes, len(p)) && off-frameHeaderBytes != w.headerAt:
		if header := off - frameHeaderBytes; w.unsummedFrom == 0 || header < w.unsummedFrom {
			w.unsummedFrom = header
		}
	}
	n, err := w.osFile.WriteAt(p, off)
	return n, w.eyes.wrote(err)
}

// isFrame tells whether a frame with a page of this size can begin there.
func isFrame(header int64, page int) bool {
	return isPage(page) && header >= walHeaderBytes && (header-walHeaderBytes)%int64(frameHeaderBytes+page) == 0
}

// follows tells whether a frame has the checksum that follows from the one before it.
func follows(before, header, page []byte) bool {
	s1, s2 := sum(binary.BigEndian.Uint32(before), binary.BigEndian.Uint32(before[4:]), header[:summedBytes])
	return isSum(header[sumAt:], s1, s2, page)
}

// isSum tells whether a checksum, as the log has it, is that of some bytes, going on from another one.
func isSum(is []byte, s1, s2 uint32, b []byte) bool {
	s1, s2 = sum(s1, s2, b)
	return s1 == binary.BigEndian.Uint32(is) && s2 == binary.BigEndian.Uint32(is[4:])
}

package sqlitefile

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Read gives a connection to the file as it is with what waits in its write-ahead log. It changes and makes
// nothing: what a kill has left to be tidied up stays. Nobody may have the file open. Errors: fs.ErrNotExist, a Damage.
func (f *File) Read() (*sql.DB, error) {
	path, err := filepath.EvalSymlinks(f.path) // its log stands beside the file itself
	if err != nil {
		return nil, err
	}
	if err := Verify(path); err != nil {
		return nil, err
	}
	eyes := &stillVFS{checkedVFS: f.eyes}
	vfs.Register(eyes.name(), eyes) // as long as the process runs, as that of the file
	settings := url.Values{"vfs": {eyes.name()}, "mode": {"ro"}, "_pragma": {"temp_store(MEMORY)"}}
	name := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: settings.Encode()}
	db, err := driver.Open(name.String(), refuseForeign)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// refuseForeign refuses another program's file. An older version's may have no checksums.
func refuseForeign(c *sqlite3.Conn) error {
	id, err := applicationID(c)
	if err == nil && id != ours && id != 0 {
		err = errForeign(id)
	}
	return err
}

// stillVFS is SQLite's way to a database that nobody changes.
type stillVFS struct{ *checkedVFS }

func (v *stillVFS) name() string { return fmt.Sprintf("still-%p", v) }

// OpenFilename opens a database. There is nothing else to be opened.
func (v *stillVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if flags&vfs.OPEN_MAIN_DB == 0 {
		return nil, flags, sqlite3.CANTOPEN
	}
	database, err := openStill(v.checkedVFS, name.String())
	if err != nil {
		return nil, flags, v.noticed(err)
	}
	return database, flags | vfs.OPEN_READONLY, nil
}

func (v *stillVFS) Open(string, vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return nil, 0, sqlite3.CANTOPEN
}

func (*stillVFS) Delete(string, bool) error { return sqlite3.IOERR_DELETE }

// still is a database in which pages are as its write-ahead log has them. Who changes nothing locks nothing.
type still struct {
	unshared

	eyes    *checkedVFS
	path    string
	log     *os.File         // nil: there is none
	page    int64            // bytes; 0: the file is empty
	summed  bool             // the pages have checksums
	waiting map[uint32]int64 // where in the log pages are that the database lacks
	pages   uint32           // with those; 0: none wait
}

func openStill(eyes *checkedVFS, path string) (_ *still, err error) {
	s := &still{eyes: eyes, path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.File, err = os.Open(path); err != nil {
		return s, err
	}
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(s.File, header); errors.Is(err, io.EOF) {
		return s, nil // it was just made
	} else if err != nil {
		return s, &Damage{path, 0, headerBytes, err}
	}
	s.page = int64(pageSize(header))
	if s.log, err = os.Open(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	} else if err != nil {
		return s, err
	}
	info, err := s.log.Stat()
	if err != nil {
		return s, err
	}
	needless, err := checkLog(s.log, info.Size(), path)
	if err == nil && !needless {
		s.waiting, s.pages, err = committed(s.log, int(s.page))
	}
	if err == nil {
		_, err = s.ReadAt(header, 0)
	}
	s.summed = header[reservedAt] == checksumBytes
	return s, err
}

// committed are the places of the pages in a write-ahead log as they are at the end of its last transaction, and how
// many pages the database has then.
func committed(log io.ReaderAt, size int) (places map[uint32]int64, pages uint32, err error) {
	const headerSumAt = walHeaderBytes - checksumBytes
	header := make([]byte, walHeaderBytes)
	before := header[headerSumAt:]
	_, err = log.ReadAt(header, 0)
	hasSize := int(binary.BigEndian.Uint32(header[walPageSizeAt:])) == size
	if err == nil && (!hasSize || !isSum(before, 0, 0, header[:headerSumAt])) {
		return nil, 0, nil // a crash came before it was written
	}
	places = map[uint32]int64{}
	begun := map[uint32]int64{} // by a transaction that has no end yet
	frame := make([]byte, frameHeaderBytes+size)
	for at := int64(walHeaderBytes); err == nil; at += int64(len(frame)) {
		if _, err = log.ReadAt(frame, at); err != nil {
			break
		}
		head := frame[:frameHeaderBytes]
		isOld := !bytes.Equal(head[frameSaltAt:frameSaltAt+saltBytes], header[saltAt:saltAt+saltBytes])
		if isOld || !follows(before, head, frame[frameHeaderBytes:]) {
			break
		}
		begun[binary.BigEndian.Uint32(head)] = at + frameHeaderBytes
		if n := binary.BigEndian.Uint32(head[commitAt:]); n != 0 {
			pages = n
			maps.Copy(places, begun)
			clear(begun)
		}
		before = bytes.Clone(head[sumAt:])
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return places, pages, err
}

func (s *still) Size() (int64, error) {
	if s.pages == 0 {
		return s.unshared.Size()
	}
	return int64(s.pages) * s.page, nil
}

func (s *still) ReadAt(p []byte, off int64) (int, error) {
	if s.page == 0 {
		return 0, io.EOF
	}
	number, within := uint32(off/s.page)+1, off%s.page
	at, waits := s.waiting[number]
	if !waits {
		return s.eyes.read(s.File, s.path, p, off)
	}
	n, err := s.eyes.read(s.log, s.log.Name(), p, at+within)
	if s.summed && within == 0 && int64(n) == s.page { // SQLite computes it when it copies the page
		s1, s2 := sum(0, 0, p[:n-checksumBytes])
		binary.LittleEndian.PutUint32(p[n-checksumBytes:], s1)
		binary.LittleEndian.PutUint32(p[n-checksumBytes+4:], s2)
	}
	return n, err
}

func (s *still) WriteAt([]byte, int64) (int, error) { return 0, sqlite3.READONLY }
func (s *still) Truncate(int64) error               { return sqlite3.READONLY }

func (s *still) DeviceCharacteristics() vfs.DeviceCharacteristic { return vfs.IOCAP_IMMUTABLE }

func (s *still) Close() (err error) {
	for _, file := range []*os.File{s.File, s.log} {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}

package sqlitefile

import (
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3/vfs"
)

// scratch is what SQLite sorts an index in, or copies a file to, when that is more than its memory takes.
// It stands beside the database, where there is room for its like: a folder for temporary files may be in
// memory. It has no name, so that it ends with who has it open.
type scratch struct{ *os.File }

func newScratch(database string) (scratch, error) {
	file, err := os.CreateTemp(filepath.Dir(database), ".scratch-*")
	if err != nil {
		return scratch{}, err
	}
	return scratch{file}, os.Remove(file.Name())
}

func (s scratch) Size() (int64, error) {
	info, err := s.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Nobody else has it, and it need not outlive anything.

func (scratch) Lock(vfs.LockLevel) error                        { return nil }
func (scratch) Unlock(vfs.LockLevel) error                      { return nil }
func (scratch) CheckReservedLock() (bool, error)                { return false, nil }
func (scratch) Sync(vfs.SyncFlag) error                         { return nil }
func (scratch) SectorSize() int                                 { return 0 } // SQLite's default
func (scratch) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }

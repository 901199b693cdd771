package sqlitefile

import (
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3/vfs"
)

// newScratch makes what SQLite sorts an index in, or copies a file to, when that is more than its memory takes.
// It stands beside the database, where there is room for its like: a folder for temporary files may be in
// memory. It has no name, so that it ends with who has it open.
func newScratch(database string) (unshared, error) {
	file, err := os.CreateTemp(filepath.Dir(database), ".scratch-*")
	if err != nil {
		return unshared{}, err
	}
	return unshared{file}, os.Remove(file.Name())
}

// unshared is a file that nobody else has open: nothing is locked. Nor need what is written to it outlive anything.
type unshared struct{ *os.File }

func (u unshared) Size() (int64, error) {
	info, err := u.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (unshared) Lock(vfs.LockLevel) error                        { return nil }
func (unshared) Unlock(vfs.LockLevel) error                      { return nil }
func (unshared) CheckReservedLock() (bool, error)                { return false, nil }
func (unshared) Sync(vfs.SyncFlag) error                         { return nil }
func (unshared) SectorSize() int                                 { return 0 } // SQLite's default
func (unshared) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }

package jetstream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// An assembly is the folder in which the embedded server puts a batch together, before it
// writes it into the stream and syncs that. The server syncs this folder too, which takes
// most of an append's time and guards nothing that we promise: a batch is a faster write of
// independent events, and nobody is told of them before the stream is synced. So the folder
// stands in memory, and the server finds a link to it.
//
// After a kill the folder is still there, and the server completes what it was writing. After
// a power cut the log may end with the beginning of a batch.
type assembly struct {
	memory string   // a file system in memory, where there is one
	link   string   // where the server looks for it
	folder string   // in memory; empty: the server has one on the disk
	lock   *os.File // held as long as the folder is in use

	inMemory atomic.Bool
}

const (
	memory         = "/dev/shm"
	assemblyPrefix = "truebond-batches-"
	assemblyLock   = "lock"
	makingMax      = time.Minute // longer, nobody is at work on a folder that is not shown yet
	memoryRoomMin  = 32 << 20    // bytes that must be free; a batch has seldom more than one million
)

// assemblyOf is the assembly of the log in a data folder. Its folder is on the disk.
func assemblyOf(data string) *assembly {
	return &assembly{memory: memory, link: filepath.Join(streamFolder(data), "batches")}
}

// place moves the assembly into memory. If that fails, it stays on the disk.
func (a *assembly) place() error {
	a.remove()
	if _, err := os.Readlink(a.link); err == nil {
		_ = os.Remove(a.link) // a killed server's; where it leads to nothing, no folder can be made
	}
	a.sweep()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(a.memory, &disk); err != nil {
		return fmt.Errorf("no memory for batches: %w", err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < memoryRoomMin { // #nosec G115 -- a size
		return fmt.Errorf("no memory for batches: %s has %d bytes left", a.memory, free)
	}
	if err := a.make(); err != nil {
		a.remove()
		return fmt.Errorf("no memory for batches: %w", err)
	}
	a.inMemory.Store(true)
	return nil
}

// make makes the folder, which nobody else sees before it is locked.
func (a *assembly) make() (err error) {
	hidden, err := os.MkdirTemp(a.memory, "."+assemblyPrefix)
	if err != nil {
		return err
	}
	a.folder = hidden
	if a.lock, err = os.OpenFile(filepath.Join(hidden, assemblyLock), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(a.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	shown := filepath.Join(a.memory, strings.TrimPrefix(filepath.Base(hidden), "."))
	if err := os.Rename(hidden, shown); err != nil {
		return err
	}
	a.folder = shown
	if err := os.RemoveAll(a.link); err != nil {
		return err
	}
	return os.Symlink(shown, a.link)
}

// remove leaves the assembly to the server, which makes a folder on the disk when it needs one.
func (a *assembly) remove() {
	a.inMemory.Store(false)
	if a.folder == "" {
		return
	}
	if to, err := os.Readlink(a.link); err == nil && to == a.folder {
		_ = os.Remove(a.link) // or the server finds a link to nothing, and place is called again
	}
	_ = os.RemoveAll(a.folder) // or the next server sweeps it away
	if a.lock != nil {
		_ = a.lock.Close()
	}
	a.folder, a.lock = "", nil
}

// sweep removes the folders of processes that were killed.
func (a *assembly) sweep() {
	left, _ := filepath.Glob(filepath.Join(a.memory, assemblyPrefix+"*")) // the pattern is good
	hidden, _ := filepath.Glob(filepath.Join(a.memory, "."+assemblyPrefix+"*"))
	for _, folder := range hidden {
		if made, err := os.Stat(folder); err == nil && time.Since(made.ModTime()) > makingMax {
			left = append(left, folder)
		}
	}
	for _, folder := range left {
		lock, err := os.OpenFile(filepath.Join(folder, assemblyLock), os.O_RDWR, 0)
		if err != nil {
			continue // somebody else's, or just being removed
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(folder) // or the next server does
		}
		_ = lock.Close()
	}
}

package jetstream

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// openWithMemory opens a log whose batches are put together in memory.
func openWithMemory(t *testing.T) *Log {
	t.Helper()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(memory, &disk); err != nil || disk.Bavail*uint64(disk.Bsize) < memoryRoomMin {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not there, or full: %v", memory, err)
		}
		t.Skipf("SKIPPED, NOTHING IS TESTED: %s is not there, or full: %v", memory, err)
	}
	o := patient(t)
	o.Dir = t.TempDir()
	l := open(t, o)
	if !l.server.assembly.inMemory.Load() {
		t.Fatal("batches are put together on the disk")
	}
	return l
}

func TestBatchesArePutTogetherInMemory(t *testing.T) {
	l := openWithMemory(t)
	all := newWriting(t, "a").next(t, 0, 100)
	appended(t, l, 0, all)
	holds(t, l, all)
	a := l.server.assembly
	used := []string{a.folder, a.link}
	if _, err := os.Stat(a.folder); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	for _, path := range used {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s was left behind: %v", path, err)
		}
	}
}

// A system may clear its memory of files while a server runs.
func TestWhenMemoryIsClearedBatchesGoOn(t *testing.T) {
	l := openWithMemory(t)
	a := l.server.assembly
	all := newWriting(t, "a").next(t, 0, 100)
	appended(t, l, 0, all[:50])
	if err := os.RemoveAll(a.folder); err != nil {
		t.Fatal(err)
	}
	appended(t, l, 50, all[50:])
	holds(t, l, all)
	if to, err := os.Readlink(a.link); err != nil || to != a.folder || !a.inMemory.Load() {
		t.Errorf("the server finds %q and not %q: %v", to, a.folder, err)
	}
}

func TestAStartSweepsAwayWhatAKilledServerLeftInMemory(t *testing.T) {
	inUse := openWithMemory(t).server.assembly.folder
	left := assemblyOf(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(left.link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := left.place(); err != nil {
		t.Fatal(err)
	}
	if err := left.lock.Close(); err != nil { // as a kill does
		t.Fatal(err)
	}
	hidden, err := os.MkdirTemp(memory, "."+assemblyPrefix) // of one that was killed while it made it
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * makingMax)
	if err := errors.Join(os.WriteFile(filepath.Join(hidden, assemblyLock), nil, 0o600), os.Chtimes(hidden, long, long)); err != nil {
		t.Fatal(err)
	}
	openWithMemory(t)
	for _, folder := range []string{left.folder, hidden} {
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", folder, err)
		}
	}
	if _, err := os.Stat(inUse); err != nil {
		t.Errorf("one that is in use was swept away: %v", err)
	}
}

func TestALinkThatAKilledServerLeftIsNotInTheWayOfAFolderOnTheDisk(t *testing.T) {
	a := assemblyOf(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(a.link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(t.TempDir(), "gone"), a.link); err != nil {
		t.Fatal(err)
	}
	a.memory = filepath.Join(t.TempDir(), "none")
	if err := a.place(); err == nil {
		t.Fatal("batches are put together in a memory that is not there")
	}
	if err := os.MkdirAll(a.link, 0o700); err != nil { // as the server does
		t.Error(err)
	}
}

// Package disktest has disks that fail as real ones do: file systems of a fixed size in
// a file, mounted over a loop device, which can lose power, fill up or turn read-only.
package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// A Disk is an ext4 file system of the test's own, mounted at Dir.
type Disk struct {
	Dir   string
	image string
}

// prefix begins the name of each disk's folder; the process that made it follows.
const prefix = "truebond-disk-"

// New makes a disk and mounts it. It is gone with the test; what a killed test has left
// behind goes with the next one that makes a disk.
//
// Where no such file system can be mounted the test is skipped, or fails where the
// environment has CI=true.
func New(t testing.TB, bytes int64) *Disk {
	t.Helper()
	removeLeftovers(t)
	folder, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	d := &Disk{Dir: filepath.Join(folder, "mnt"), image: filepath.Join(folder, "image")}
	t.Cleanup(func() {
		if err := remove(folder); err != nil {
			t.Errorf("remove the disk: %v", err)
		}
	})
	if err := d.format(bytes); err != nil {
		missing(t, err)
	}
	if err := d.mount(); err != nil {
		missing(t, err)
	}
	return d
}

func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("make a disk that can fail: %v", err)
	}
	t.Skipf("SKIPPED, NOTHING IS TESTED: a disk that can fail needs Linux, root and loop devices: %v", err)
}

func (d *Disk) format(bytes int64) error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(d.image, bytes); err != nil { // it takes no more room than what is written
		return err
	}
	return run("mkfs.ext4", "-q", "-F", "-m", "0", d.image)
}

// mount replays the journal, as the start after a power cut does. An error of the file
// system makes it read-only, as is usual on servers.
func (d *Disk) mount() error {
	return run("mount", "-t", "ext4", "-o", "loop,errors=remount-ro", d.image, d.Dir)
}

// CutPower makes the disk forget at once whatever was not synced (EXT4_IOC_SHUTDOWN
// without a flush of the journal). From now on it answers with errors, until Restart.
func (d *Disk) CutPower(t testing.TB) {
	t.Helper()
	if err := shutDown(d.Dir); err != nil {
		t.Fatalf("cut the disk's power: %v", err)
	}
}

const (
	ioctlShutdown      = 0x8004587d // _IOR('X', 125, uint32)
	shutdownNoLogFlush = 2
)

func shutDown(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written by it
	how := uint32(shutdownNoLogFlush)
	// #nosec G103 -- the ioctl reads a number
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&how)))
	if failed != 0 {
		return failed
	}
	return nil
}

// Freeze has all who write to the disk wait until thaw is called, which is at the test's end at the latest.
func (d *Disk) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	f, err := os.Open(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	tell := func(what string, request uintptr) {
		if _, _, failed := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, 0); failed != 0 {
			t.Errorf("%s the disk: %v", what, failed)
		}
	}
	tell("freeze", ioctlFreeze)
	thaw = sync.OnceFunc(func() {
		tell("thaw", ioctlThaw)
		f.Close() //nolint:errcheck,gosec // nothing was written by it
	})
	t.Cleanup(thaw)
	return thaw
}

// As linux/fs.h has them: FIFREEZE and FITHAW.
const (
	ioctlFreeze = 0xc0045877
	ioctlThaw   = 0xc0045878
)

// Spoil makes a file unreadable from a byte on, as bad sectors do, and with it whatever stands behind that
// on the disk. It restarts the disk, so that nothing of the file is in memory.
func (d *Disk) Spoil(t testing.TB, name string, from int64) {
	t.Helper()
	at, err := placeOf(name, from)
	if err != nil {
		t.Fatalf("spoil %s: %v", name, err)
	}
	d.Restart(t)
	if err := os.Truncate(d.image, at); err != nil {
		t.Fatal(err)
	}
}

const ioctlBlock = 1 // FIBMAP: on which block of the disk one of a file is

// placeOf is where on its disk the block of a file begins that has a byte.
func placeOf(name string, at int64) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // nothing was written by it
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(name, &disk); err != nil {
		return 0, err
	}
	block := int32(at / disk.Bsize)
	// #nosec G103 -- the ioctl reads a number, and writes another one
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlBlock, uintptr(unsafe.Pointer(&block)))
	if failed != 0 {
		return 0, failed
	}
	return int64(block) * disk.Bsize, nil
}

// TurnReadOnly makes the disk find an error in itself, after which nothing can be written
// to it any more, by whoever has files open either, until Restart.
func (d *Disk) TurnReadOnly(t testing.TB) {
	t.Helper()
	device, err := deviceOf(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0o600); err != nil {
		t.Fatalf("make the disk read-only: %v", err)
	}
}

// Room is how many bytes are free on the disk.
func (d *Disk) Room(t testing.TB) int64 {
	t.Helper()
	var space syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &space); err != nil {
		t.Fatal(err)
	}
	return int64(space.Bavail) * space.Bsize
}

// FillUp takes what is free on the disk but for some bytes. The room comes back with
// MakeRoom.
func (d *Disk) FillUp(t testing.TB, leave int64) {
	t.Helper()
	const tries = 5 // whoever writes meanwhile may take more than is left to them
	var err error
	for range tries {
		size := d.Room(t) - leave
		if size <= 0 {
			return
		}
		if err = run("fallocate", "-l", fmt.Sprint(size), d.ballast()); err == nil {
			return
		}
		if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("fill the disk up: %v", err)
		}
	}
	t.Fatalf("fill the disk up: %v", err)
}

// MakeRoom undoes FillUp.
func (d *Disk) MakeRoom(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatalf("make room on the disk: %v", err)
	}
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Restart is the start after whatever has happened. Nobody may have files open.
func (d *Disk) Restart(t testing.TB) {
	t.Helper()
	if err := unmount(d.Dir); err != nil {
		t.Fatal(err)
	}
	// Another mount namespace, as of `ip netns exec`, may have a copy of the mount, which
	// keeps the old file system alive, without power. Its image is done with.
	fresh := d.image + "-fresh"
	if err := run("cp", "--sparse=always", d.image, fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, d.image); err != nil {
		t.Fatal(err)
	}
	// A file system that has found an error is looked through before it is mounted again.
	if err := run("e2fsck", "-p", d.image); err != nil && exitCode(err) > 1 {
		t.Fatalf("look through the disk: %v", err)
	}
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
	if err := d.forgetMemory(); err != nil {
		t.Fatal(err)
	}
}

// forgetMemory takes what the disk has links to in memory: a power cut leaves that nowhere.
func (d *Disk) forgetMemory() error {
	return filepath.WalkDir(d.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "/dev/shm/") {
			return err
		}
		return os.RemoveAll(target)
	})
}

// unmount waits a little for processes that were killed to be gone.
func unmount(dir string) error {
	const tries, pause = 100, 50 * time.Millisecond
	var err error
	for range tries {
		if err = run("umount", dir); err == nil {
			return nil
		}
		time.Sleep(pause)
	}
	return err
}

// remove unmounts what is mounted in a disk's folder and removes it. The loop device
// goes with the mount.
func remove(folder string) error {
	dir := filepath.Join(folder, "mnt")
	if _, err := deviceOf(dir); err == nil {
		if err := unmount(dir); err != nil {
			if lazily := run("umount", "--lazy", dir); lazily != nil {
				return lazily
			}
		}
	}
	return os.RemoveAll(folder)
}

// removeLeftovers removes the disks of processes that are not there any more.
func removeLeftovers(t testing.TB) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		var owner int
		if _, err := fmt.Sscanf(filepath.Base(folder), prefix+"%d-", &owner); err != nil {
			continue
		}
		if syscall.Kill(owner, 0) == nil {
			continue
		}
		t.Logf("removing %s, which a killed test has left behind", folder)
		if err := remove(folder); err != nil {
			t.Logf("it cannot be removed: %v", err)
		}
	}
}

// deviceOf is the loop device that is mounted at a folder.
func deviceOf(dir string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == dir {
			return fields[0], nil
		}
	}
	return "", fmt.Errorf("nothing is mounted at %s", dir)
}

// A commandError is what a command that failed has said.
type commandError struct {
	err  *exec.ExitError
	line string
	said string
}

func (e *commandError) Error() string { return fmt.Sprintf("%s: %v: %s", e.line, e.err, e.said) }

func exitCode(err error) int {
	if failed, ok := err.(*commandError); ok { //nolint:errorlint // run wraps it no further
		return failed.err.ExitCode()
	}
	return -1
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...) // #nosec G204 -- commands of ours
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if failed, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Run wraps it in nothing
		return &commandError{failed, strings.Join(cmd.Args, " "), strings.TrimSpace(said.String())}
	}
	return err
}

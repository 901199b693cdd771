package disktest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

const diskBytes = 32 << 20

// write writes a file and syncs it if that is wanted. The file stays open.
func write(t *testing.T, path, text string, sync bool) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestAPowerCutTakesWhatWasNotSynced(t *testing.T) {
	d := New(t, diskBytes)
	path := filepath.Join(d.Dir, "file")
	f := write(t, path, "synced", true)
	write(t, path, ", not synced", false).Close()
	write(t, filepath.Join(d.Dir, "another"), "not synced", false).Close()
	d.CutPower(t)
	if _, err := f.WriteString("too late"); err == nil {
		err = f.Sync()
		if err == nil {
			t.Error("a disk without power syncs")
		}
	}
	f.Close()
	d.Restart(t)
	if text, err := os.ReadFile(path); err != nil || string(text) != "synced" {
		t.Errorf("the file holds %q: %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "another")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was never synced is there: %v", err)
	}
}

func TestADiskTurnsReadOnlyUnderOpenFiles(t *testing.T) {
	d := New(t, diskBytes)
	path := filepath.Join(d.Dir, "file")
	f := write(t, path, "synced", true)
	d.TurnReadOnly(t)
	if _, err := os.Create(filepath.Join(d.Dir, "another")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("it is written to: %v", err)
	}
	f.Close()
	d.Restart(t)
	write(t, path, ", and on", true).Close()
	if text, err := os.ReadFile(path); err != nil || string(text) != "synced, and on" {
		t.Errorf("the file holds %q: %v", text, err)
	}
}

func TestADiskFillsUpAndIsGivenRoom(t *testing.T) {
	d := New(t, diskBytes)
	d.FillUp(t, 1<<20)
	f := write(t, filepath.Join(d.Dir, "file"), "", false)
	defer f.Close()
	block := make([]byte, 4<<20)
	if _, err := f.Write(block); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("there was room for it: %v", err)
	}
	d.MakeRoom(t)
	if _, err := f.Write(block); err != nil {
		t.Error(err)
	}
}

// What a killed test has left is found by its name and removed.
func TestADiskOfADeadProcessIsRemoved(t *testing.T) {
	d := New(t, diskBytes)
	const nobody = prefix + "999999999-left" // greater than any process id
	folder := filepath.Join(os.TempDir(), nobody)
	if err := os.Rename(filepath.Dir(d.Dir), folder); err == nil {
		t.Cleanup(func() { _ = remove(folder) }) // it is gone already, or this test has failed
	} else {
		t.Fatal(err)
	}
	if _, err := deviceOf(filepath.Join(folder, "mnt")); err != nil {
		t.Fatal(err)
	}
	removeLeftovers(t)
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

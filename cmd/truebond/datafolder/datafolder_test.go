package datafolder

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func newFolder(t *testing.T) Folder {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func permissions(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestNobodyElseLooksIntoADataFolder(t *testing.T) {
	made := newFolder(t)
	if p := permissions(t, made.Path); p != 0o700 {
		t.Errorf("a new one has mode %o", p)
	}

	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(open); err != nil || permissions(t, open) != 0o700 {
		t.Errorf("an empty one is not closed: %v, mode %o", err, permissions(t, open))
	}

	if err := os.WriteFile(filepath.Join(open, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(open); err != nil {
		t.Errorf("a closed one is refused: %v", err)
	}
	if err := os.Chmod(open, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(open); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("one that is open and not empty: %v", err)
	}
}

func TestAFolderWithSomethingInItStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some", "data")
	data, unlock, err := Hold(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(data.Join("something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data.Join("something")); err != nil {
		t.Error(err)
	}
}

func TestTwoThatStartAtOnceHaveOneSecret(t *testing.T) {
	data := newFolder(t)
	secrets := make([]string, 20)
	var all sync.WaitGroup
	for i := range secrets {
		all.Go(func() {
			var err error
			if secrets[i], err = data.Secret("shared", "x_"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, s := range secrets {
		if s == "" || s != secrets[0] {
			t.Fatalf("the secrets are %q", secrets)
		}
	}
	if p := permissions(t, data.Join("shared")); p != 0o600 {
		t.Errorf("its file has mode %o", p)
	}
	left, err := os.ReadDir(data.Path)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v (%v)", left, err)
	}
}

// Whoever looks may be interrupted in the midst of it, on a machine that is busy with others.
func TestALookAtAFolderKeepsNoServerOff(t *testing.T) {
	data := newFolder(t)
	look, err := os.Create(data.Join(lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	if err := syscall.Flock(int(look.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(3*lockTries*lockPause, func() { _ = look.Close() })
	unlock, err := data.lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestASecretThatWasEmptiedIsNotMadeAnew(t *testing.T) {
	data := newFolder(t)
	if err := os.WriteFile(data.Join("shared"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if secret, err := data.Secret("shared", ""); err == nil {
		t.Errorf("it became %q: what the old one sealed would be lost unseen", secret)
	}
}

func TestTheNoteLeadsToTheServerUntilItStops(t *testing.T) {
	data := newFolder(t)
	if err := data.RemoveNote(); err != nil {
		t.Errorf("removing no note: %v", err)
	}
	want := Note{PID: 7, URL: "http://127.0.0.1:1", Socket: "/x"}
	if err := data.WriteNote(want); err != nil {
		t.Fatal(err)
	}
	if got, err := data.ReadNote(); err != nil || got != want {
		t.Errorf("the note is %+v (%v)", got, err)
	}
	if p := permissions(t, data.Join(runtimeFile)); p != 0o600 {
		t.Errorf("it has mode %o", p)
	}
	if err := data.RemoveNote(); err != nil {
		t.Fatal(err)
	}
	if _, err := data.ReadNote(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestOnlyTheOwnerUsesTheSocket(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	for _, path := range []string{filepath.Join(t.TempDir(), "short"), long} {
		data, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		before := ""
		for _, killed := range []bool{true, false} {
			listener, err := data.ListenOperator()
			if err != nil {
				t.Fatal(err)
			}
			socket := listener.Addr().String()
			if permissions(t, socket) != 0o600 || permissions(t, filepath.Dir(socket)) != 0o700 {
				t.Errorf("%s has mode %o", socket, permissions(t, socket))
			}
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if killed {
				before = socket
				if err := data.WriteNote(Note{Socket: socket}); err != nil {
					t.Fatal(err)
				}
				isLeftToItsServer(t, data, socket)
				leaveDead(t, listener)
				continue
			}
			if err := listener.Close(); err != nil {
				t.Error(err)
			}
			for _, socket := range []string{before, socket} {
				left := socket
				if filepath.Dir(socket) != path {
					left = filepath.Dir(socket)
				}
				if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left behind: %v", left, err)
				}
			}
		}
	}
}

// isLeftToItsServer has a server start on a copy of a folder while another one serves that.
func isLeftToItsServer(t *testing.T, data Folder, socket string) {
	t.Helper()
	data.RemoveDeadSocket()
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the socket of a server that lives was removed: %v", err)
	}
}

// leaveDead closes a socket as the death of its server does.
func leaveDead(t *testing.T, listener net.Listener) {
	t.Helper()
	if elsewhere, ok := listener.(socketElsewhere); ok {
		listener = elsewhere.Listener
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

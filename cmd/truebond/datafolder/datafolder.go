// Package datafolder is what a server keeps on its machine: names of files, secrets, the lock that keeps a
// second server off, the note that leads others to it, and how far a restore is.
package datafolder

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"truebond/events/checkpoints"
	"truebond/events/merkle"
	"truebond/events/ondisk"
)

// A Folder holds all that one server keeps on its machine. Only its owner can look
// into it.
type Folder struct{ Path string }

// Names of files in the folder.
const (
	WebhookSecretFile = "stripe-webhook-secret" //nolint:gosec // its name, not the secret
	runtimeFile       = "server.json"
	operatorSocket    = "operator.sock"
	lockFile          = "lock"
	VaultFile         = "vault.db"
	ViewsFile         = "views.db"
	JWTSecretFile     = "jwt-secret" //nolint:gosec // likewise
	// NextSecretFile holds the secret that the vault will be under, or is already, when a rotation was cut off.
	NextSecretFile = JWTSecretFile + ".next"

	secretBytes        = 32
	socketFolderPrefix = "truebond-socket-"
	socketPathMax      = 100 // a Unix socket's path has 104 bytes on some systems, 108 on others
)

// Open makes the folder if there is none. It refuses one that others may look
// into, unless it is empty and can be closed to them.
func Open(path string) (Folder, error) {
	d := Folder{path}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return d, fmt.Errorf("make the data folder: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return d, fmt.Errorf("open the data folder: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return d, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return d, fmt.Errorf("open the data folder: %w", err)
	}
	if len(entries) > 0 {
		return d, fmt.Errorf("the data folder %s is open to others: `chmod 700 %[1]s` closes it", path)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a folder needs the x
		return d, fmt.Errorf("close the data folder to others: %w", err)
	}
	return d, nil
}

// A look whether the folder is served holds it for a moment, too; on a busy machine for a longer one.
const (
	lockTries = 5
	lockPause = 20 * time.Millisecond
	lookMax   = 10 * time.Second
)

// ErrHeld says that another process has the folder.
var ErrHeld = errors.New("another server holds the data folder")

// lock keeps a second server off the folder, until it is unlocked or the process ends: ErrHeld if one is there.
func (d Folder) lock() (unlock func() error, err error) {
	f, err := os.OpenFile(d.Join(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) {
		if f, err = os.Open(d.Join(lockFile)); errors.Is(err, fs.ErrNotExist) {
			return func() error { return nil }, nil // no server can be there
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	end := time.Now().Add(lookMax)
	for tries := 1; ; tries++ {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // it fits
		if err == nil {
			return f.Close, nil
		}
		if tries >= lockTries && d.IsServed() || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%w %s", ErrHeld, d.Path), f.Close())
		}
		time.Sleep(lockPause)
	}
}

// IsServed tells whether a server holds the folder. A copy of a served folder has its note, too, which
// leads to the server of the other.
func (d Folder) IsServed() bool {
	f, err := os.Open(d.Join(lockFile))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()                                                           //nolint:errcheck // it was only looked at
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil //nolint:gosec // it fits
}

// HoldExisting opens a folder that is there already, and keeps servers off until it is
// unlocked. A mistyped name makes no new one.
func HoldExisting(path string) (d Folder, unlock func() error, err error) {
	if _, err := os.Stat(path); err != nil {
		return d, nil, fmt.Errorf("there is no data folder %s", path)
	}
	return Hold(path)
}

// Hold opens a folder, which it makes if there is none, and keeps servers off until it
// is unlocked. What was made for nothing, since nothing was put into it, is removed then.
func Hold(path string) (d Folder, unlock func() error, err error) {
	made := missing(path)
	if d, err = Open(path); err != nil {
		return d, nil, err
	}
	free, err := d.lock()
	if err != nil {
		return d, nil, err
	}
	return d, func() error {
		d.removeUnused(made)
		return free()
	}, nil
}

// missing are the folders up to a path that are not there, the innermost first.
func missing(path string) (folders []string) {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return folders
		}
		folders = append(folders, path)
	}
}

// removeUnused removes folders that were made up to this one, if it has nothing but its lock.
func (d Folder) removeUnused(made []string) {
	entries, err := os.ReadDir(d.Path)
	if err != nil || len(made) == 0 || len(entries) != 1 || entries[0].Name() != lockFile {
		return
	}
	_ = os.Remove(d.Join(lockFile))
	for _, folder := range made {
		_ = os.Remove(folder) // it stays when another has put something into it
	}
}

// IsOrHasInLog tells whether a path leads to the folder or into its log, whatever it is called there.
func (d Folder) IsOrHasInLog(path string) bool {
	if same(d.Path, path) {
		return true
	}
	path, err := filepath.Abs(path)
	for err == nil && path != filepath.Dir(path) {
		if led, err := filepath.EvalSymlinks(path); err == nil {
			path = led
		}
		if same(d.Join(LogFolder), path) {
			return true
		}
		path = filepath.Dir(path)
	}
	return false
}

func same(one, other string) bool {
	first, err := os.Stat(one)
	if err != nil {
		return false
	}
	second, err := os.Stat(other)
	return err == nil && os.SameFile(first, second)
}

// Join is the path of a file in the folder.
func (d Folder) Join(name string) string { return filepath.Join(d.Path, name) }

// Secret reads the secret in a file of the folder. The first time it makes one up, which
// is on disk for good before anybody uses it.
func (d Folder) Secret(name, prefix string) (string, error) {
	secret, err := d.ReadSecret(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	bytes := make([]byte, secretBytes)
	_, _ = rand.Read(bytes) // never fails (crypto/rand)
	staged, err := ondisk.Stage(d.Path, "."+name+"-*", []byte(prefix+hex.EncodeToString(bytes)+"\n"))
	if err != nil {
		return "", fmt.Errorf("make the secret %s: %w", name, err)
	}
	defer os.Remove(staged) //nolint:errcheck // it has another name by then
	// A link never replaces: of two that start at once, both use the first one's secret.
	if err := os.Link(staged, d.Join(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the secret %s: %w", name, err)
	}
	if err := d.Sync(); err != nil {
		return "", fmt.Errorf("make the secret %s: %w", name, err)
	}
	return d.ReadSecret(name)
}

// ReadSecret reads a secret that is there. Errors: fs.ErrNotExist.
func (d Folder) ReadSecret(name string) (string, error) {
	text, err := os.ReadFile(d.Join(name))
	if err != nil {
		return "", fmt.Errorf("read the secret %s: %w", name, err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("read the secret %s: %s is empty", name, d.Join(name))
	}
	return secret, nil
}

// Sync makes what was renamed or removed in the folder last.
func (d Folder) Sync() error { return ondisk.Sync(d.Path) }

// Replace writes a file so that it is there whole or as it was.
func (d Folder) Replace(name string, content []byte) error {
	return ondisk.Replace(d.Join(name), content)
}

// Remove removes a file for good.
func (d Folder) Remove(name string) error {
	if err := os.Remove(d.Join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.Sync()
}

// MoveAside gives a damaged log another name, under which it stays.
func (d Folder) MoveAside(name string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.damaged-%d", name, n)
		if _, err := os.Lstat(d.Join(aside)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return filepath.Join(d.Path, aside), os.Rename(d.Join(name), d.Join(aside))
	}
}

// A Note tells other subcommands how to reach the server of this folder.
type Note struct {
	PID    int       `json:"pid"`
	URL    string    `json:"url"`    // of the public API, from this machine
	Socket string    `json:"socket"` // the operator's
	Since  time.Time `json:"since"`
}

// WriteNote says where the server is; RemoveNote takes that back.
func (d Folder) WriteNote(n Note) error {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	if err := d.Replace(runtimeFile, append(text, '\n')); err != nil {
		return fmt.Errorf("say where the server is: %w", err)
	}
	return nil
}

// RemoveNote is called by a server that stops. One that was killed leaves its note, which
// then leads to a socket that nobody listens on.
func (d Folder) RemoveNote() error {
	if err := os.Remove(d.Join(runtimeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReadNote tells where the folder's server is, if IsServed. Its error is fs.ErrNotExist when none runs.
func (d Folder) ReadNote() (Note, error) {
	var n Note
	text, err := os.ReadFile(d.Join(runtimeFile))
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return n, fmt.Errorf("read %s: %w", d.Join(runtimeFile), err)
	}
	return n, nil
}

// ListenOperator opens the operator's socket, which only the folder's owner can use. The
// caller holds the folder's lock: a socket that is there already is a dead server's.
// Where the folder's path is too long for a socket, it stands in a temporary folder of
// its own; either way its path belongs into the runtime note.
func (d Folder) ListenOperator() (net.Listener, error) {
	path, err := filepath.Abs(d.Join(operatorSocket))
	if err != nil {
		return nil, err
	}
	d.RemoveDeadSocket()
	short := ""
	if len(path) > socketPathMax {
		if short, err = os.MkdirTemp("", socketFolderPrefix); err != nil { // mode 0700
			return nil, fmt.Errorf("open the operator's socket: %w", err)
		}
		path = filepath.Join(short, operatorSocket)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the operator's socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the operator's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open the operator's socket: %w", err), listener.Close())
	}
	if short != "" {
		listener = socketElsewhere{listener, short}
	}
	return listener, nil
}

// socketElsewhere is a socket in a temporary folder of its own, which ends with it.
type socketElsewhere struct {
	net.Listener
	folder string
}

func (s socketElsewhere) Close() error {
	err := s.Listener.Close()
	if gone := os.Remove(s.folder); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// RemoveDeadSocket removes what a server that was killed has left of a socket elsewhere. One that is
// answered is the server's of a folder that this one was copied from. The caller holds the folder's lock.
func (d Folder) RemoveDeadSocket() {
	dead, err := d.ReadNote()
	folder, name := filepath.Split(dead.Socket)
	if err != nil || name != operatorSocket || !strings.HasPrefix(filepath.Base(folder), socketFolderPrefix) {
		return
	}
	conn, err := net.Dial("unix", dead.Socket)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	// What is left of it all the same is in nobody's way.
	_ = os.Remove(dead.Socket)
	_ = os.Remove(folder)
}

// Checkpoint is the last signed checkpoint in a folder; nil if there is none.
func (d Folder) Checkpoint() ([]byte, error) {
	note, err := os.ReadFile(d.Join(checkpoints.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return note, err
}

// SignedSize is how many events the last checkpoint was signed for, as far as can be
// told before the vault is open. One that cannot be read is refused later.
func (d Folder) SignedSize() uint64 {
	note, err := d.Checkpoint()
	if err != nil || note == nil {
		return 0
	}
	signed, err := merkle.ParseCheckpoint(note)
	if err != nil {
		return math.MaxUint64
	}
	return signed.Size
}

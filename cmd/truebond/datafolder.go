package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A dataFolder holds all that one server keeps on its machine. Only its owner can look
// into it.
type dataFolder struct{ path string }

const (
	webhookSecretFile = "stripe-webhook-secret" //nolint:gosec // its name, not the secret
	runtimeFile       = "server.json"
	operatorSocket    = "operator.sock"
	lockFile          = "lock"
	vaultFile         = "vault.db"
	viewsFile         = "views.db"
	jwtSecretFile     = "jwt-secret" //nolint:gosec // likewise

	secretBytes        = 32
	socketFolderPrefix = "truebond-socket-"
	socketPathMax      = 100 // a Unix socket's path has 104 bytes on some systems, 108 on others
)

// openDataFolder makes the folder if there is none. It refuses one that others may look
// into, unless it is empty and can be closed to them.
func openDataFolder(path string) (dataFolder, error) {
	d := dataFolder{path}
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

var errHeld = errors.New("another server holds the data folder")

// lock keeps a second server off the folder, until it is unlocked or the process ends: errHeld if one is there.
func (d dataFolder) lock() (unlock func() error, err error) {
	f, err := os.OpenFile(d.join(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	end := time.Now().Add(lookMax)
	for tries := 1; ; tries++ {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // it fits
		if err == nil {
			return f.Close, nil
		}
		if tries >= lockTries && d.isServed() || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%w %s", errHeld, d.path), f.Close())
		}
		time.Sleep(lockPause)
	}
}

// isServed tells whether a server holds the folder. A copy of a served folder has its note, too, which
// leads to the server of the other.
func (d dataFolder) isServed() bool {
	f, err := os.Open(d.join(lockFile))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()                                                           //nolint:errcheck // it was only looked at
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil //nolint:gosec // it fits
}

// lockDataFolder opens a folder that is there already, and keeps servers off until it is
// unlocked. A mistyped name makes no new one.
func lockDataFolder(path string) (d dataFolder, unlock func() error, err error) {
	if _, err := os.Stat(path); err != nil {
		return d, nil, fmt.Errorf("there is no data folder %s", path)
	}
	return holdDataFolder(path)
}

// holdDataFolder opens a folder, which it makes if there is none, and keeps servers off until it
// is unlocked. What was made for nothing, since nothing was put into it, is removed then.
func holdDataFolder(path string) (d dataFolder, unlock func() error, err error) {
	made := missing(path)
	if d, err = openDataFolder(path); err != nil {
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
func (d dataFolder) removeUnused(made []string) {
	entries, err := os.ReadDir(d.path)
	if err != nil || len(made) == 0 || len(entries) != 1 || entries[0].Name() != lockFile {
		return
	}
	_ = os.Remove(d.join(lockFile))
	for _, folder := range made {
		_ = os.Remove(folder) // it stays when another has put something into it
	}
}

// is tells whether a path leads to the folder, whatever it is called there.
func (d dataFolder) is(path string) bool {
	own, err := os.Stat(d.path)
	if err != nil {
		return false
	}
	other, err := os.Stat(path)
	return err == nil && os.SameFile(own, other)
}

func (d dataFolder) join(name string) string { return filepath.Join(d.path, name) }

// secret reads the secret in a file of the folder. The first time it makes one up, which
// is on disk for good before anybody uses it.
func (d dataFolder) secret(name, prefix string) (string, error) {
	secret, err := d.readSecret(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	bytes := make([]byte, secretBytes)
	_, _ = rand.Read(bytes) // never fails (crypto/rand)
	staged, err := d.stage(name, []byte(prefix+hex.EncodeToString(bytes)+"\n"))
	if err != nil {
		return "", fmt.Errorf("make the secret %s: %w", name, err)
	}
	defer os.Remove(staged) //nolint:errcheck // it has another name by then
	// A link never replaces: of two that start at once, both use the first one's secret.
	if err := os.Link(staged, d.join(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the secret %s: %w", name, err)
	}
	if err := d.sync(); err != nil {
		return "", fmt.Errorf("make the secret %s: %w", name, err)
	}
	return d.readSecret(name)
}

func (d dataFolder) readSecret(name string) (string, error) {
	text, err := os.ReadFile(d.join(name))
	if err != nil {
		return "", fmt.Errorf("read the secret %s: %w", name, err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("read the secret %s: %s is empty", name, d.join(name))
	}
	return secret, nil
}

// stage writes a file under another name, readable to its owner only, and syncs it.
func (d dataFolder) stage(name string, content []byte) (staged string, err error) {
	f, err := os.CreateTemp(d.path, "."+name+"-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func (d dataFolder) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// replace writes a file so that it is there whole or as it was.
func (d dataFolder) replace(name string, content []byte) error {
	staged, err := d.stage(name, content)
	if err != nil {
		return err
	}
	if err := os.Rename(staged, d.join(name)); err != nil {
		return errors.Join(err, os.Remove(staged))
	}
	return d.sync()
}

// remove removes a file for good.
func (d dataFolder) remove(name string) error {
	if err := os.Remove(d.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync()
}

// moveAside gives a damaged log another name, under which it stays.
func (d dataFolder) moveAside(name string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.damaged-%d", name, n)
		if _, err := os.Lstat(d.join(aside)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return filepath.Join(d.path, aside), os.Rename(d.join(name), d.join(aside))
	}
}

// A runtimeNote tells other subcommands how to reach the server of this folder.
type runtimeNote struct {
	PID    int       `json:"pid"`
	URL    string    `json:"url"`    // of the public API, from this machine
	Socket string    `json:"socket"` // the operator's
	Since  time.Time `json:"since"`
}

// writeNote says where the server is; removeNote takes that back.
func (d dataFolder) writeNote(n runtimeNote) error {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	if err := d.replace(runtimeFile, append(text, '\n')); err != nil {
		return fmt.Errorf("say where the server is: %w", err)
	}
	return nil
}

// removeNote is called by a server that stops. One that was killed leaves its note, which
// then leads to a socket that nobody listens on.
func (d dataFolder) removeNote() error {
	if err := os.Remove(d.join(runtimeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readNote tells where the folder's server is, if isServed. Its error is fs.ErrNotExist when none runs.
func (d dataFolder) readNote() (runtimeNote, error) {
	var n runtimeNote
	text, err := os.ReadFile(d.join(runtimeFile))
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return n, fmt.Errorf("read %s: %w", d.join(runtimeFile), err)
	}
	return n, nil
}

// listenOperator opens the operator's socket, which only the folder's owner can use. The
// caller holds the folder's lock: a socket that is there already is a dead server's.
// Where the folder's path is too long for a socket, it stands in a temporary folder of
// its own; either way its path belongs into the runtime note.
func (d dataFolder) listenOperator() (net.Listener, error) {
	path, err := filepath.Abs(d.join(operatorSocket))
	if err != nil {
		return nil, err
	}
	d.removeDeadSocket()
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

// removeDeadSocket removes what a server that was killed has left of a socket elsewhere. One that is
// answered is the server's of a folder that this one was copied from. The caller holds the folder's lock.
func (d dataFolder) removeDeadSocket() {
	dead, err := d.readNote()
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

// localURL is how this machine reaches a server that listens on an address.
func localURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1" // Go listens there too when it says [::]
	}
	return "http://" + net.JoinHostPort(host, port)
}

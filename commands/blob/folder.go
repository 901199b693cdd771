package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"truebond/events/ondisk"
)

// A Folder keeps objects as files. Only its owner can look into it.
type Folder struct{ path string }

// stagedPrefix begins the names of files that are being written. No object's name does.
const stagedPrefix = ".put-"

// aFolder behind a path has a link to a folder walked through: it would be taken for an empty one.
const aFolder = string(filepath.Separator)

// stagedMax is how old such a file must be to be a crash's and nobody's work.
const stagedMax = time.Hour

// OpenFolder makes the folder if there is none, and removes what a crash has left half
// written.
func OpenFolder(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	f := &Folder{path}
	err = filepath.WalkDir(path+aFolder, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(entry.Name(), stagedPrefix) {
			return err
		}
		if info, err := entry.Info(); err != nil || time.Since(info.ModTime()) < stagedMax {
			return nil //nolint:nilerr // somebody has just removed it
		}
		return ignoreGone(os.Remove(at))
	})
	if err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	return f, nil
}

// ExistingFolder is a folder that must be there: a mistyped name makes no new one.
func ExistingFolder(path string) (*Folder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open the folder %s: it is none", path)
	}
	return &Folder{path}, nil
}

// String is the folder's path.
func (f *Folder) String() string { return f.path }

func (f *Folder) at(name string) string { return filepath.Join(f.path, filepath.FromSlash(name)) }

// PutIfAbsent writes the object under another name, syncs it, and gives it its own: a
// link never replaces what is there.
func (f *Folder) PutIfAbsent(_ context.Context, name string, content []byte) error {
	if err := checkObject(name, content); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if err := f.put(f.at(name), content); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (f *Folder) put(at string, content []byte) error {
	folder := filepath.Dir(at)
	if err := f.makeFolder(folder); err != nil {
		return err
	}
	staged, err := ondisk.Stage(folder, stagedPrefix+"*", content)
	if err != nil {
		return err
	}
	defer os.Remove(staged) //nolint:errcheck // what is left of it counts for nothing
	if err := os.Link(staged, at); err != nil {
		return err
	}
	return ondisk.Sync(folder)
}

// makeFolder makes a folder within ours, and is sure of each that it made.
func (f *Folder) makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for ; len(folder) >= len(f.path); folder = filepath.Dir(folder) {
		if err := ondisk.Sync(filepath.Dir(folder)); err != nil {
			return err
		}
	}
	return nil
}

// Get reads a file.
func (f *Folder) Get(_ context.Context, name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	file, err := os.Open(f.at(name))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	defer file.Close() //nolint:errcheck // it is only read
	content, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return content, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, ObjectBytesMax+1))
	if err == nil && len(content) > ObjectBytesMax {
		err = errTooLarge
	}
	return content, err
}

// List names files. It looks into no folder in which there can be none.
func (f *Folder) List(_ context.Context, prefix string) ([]string, error) {
	if _, err := os.Stat(f.path); err != nil {
		return nil, fmt.Errorf("list %s: %w", f.path, err)
	}
	var names []string
	err := filepath.WalkDir(f.at(path.Dir(prefix))+aFolder, func(at string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // or somebody has just removed it
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(f.path, at)
		name := filepath.ToSlash(relative)
		if err == nil && strings.HasPrefix(name, prefix) && checkName(name) == nil {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", f.path, err)
	}
	slices.Sort(names)
	return names, nil
}

// Delete removes a file.
func (f *Folder) Delete(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := ignoreGone(os.Remove(f.at(name))); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Package ondisk writes files that a power cut leaves whole.
package ondisk

import (
	"errors"
	"os"
	"path/filepath"
)

// Sync makes sure of what was written of a file, or of which names a folder has.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Stage writes a new file and makes sure of its content, but not of its name yet, which is the pattern's as
// os.CreateTemp has it. Only its owner can read it.
func Stage(folder, pattern string, content []byte) (path string, err error) {
	f, err := os.CreateTemp(folder, pattern) // mode 0600
	if err != nil {
		return "", err
	}
	if err := fill(f, content); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// Replace writes a file, so that after a crash it is the old or the new one. Call it once at a time. Only its
// owner can read it.
func Replace(path string, content []byte) error {
	staged := path + ".new"
	f, err := os.OpenFile(staged, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := fill(f, content); err != nil {
		return err
	}
	if err := os.Rename(staged, path); err != nil {
		return err
	}
	return Sync(filepath.Dir(path))
}

func fill(f *os.File, content []byte) error {
	_, err := f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

package datafolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where a log is, and what a restore leaves.
const (
	LogFolder       = "log"
	RestoringFile   = "restore-unfinished" // tells how far a restore is: one of the two below
	RestoringFolder = "restore"            // what a restore has made so far
	eraseAgainFile  = "erase-again"        // who was erased after the moment that the log was restored to
)

// How far a restore is that has not ended yet.
const (
	RestoreBegun = "begun" // what it has made so far counts for nothing
	RestoreWhole = "whole" // what it has made is verified, and is to be put where the log belongs
)

// RestoreState is how far a restore is; empty if none is under way.
func (d Folder) RestoreState() (string, error) {
	text, err := os.ReadFile(d.Join(RestoringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// MarkRestore says how far a restore is: the folder refuses to serve until PlaceRestored.
func (d Folder) MarkRestore(state string) error {
	return d.Replace(RestoringFile, []byte(state+"\n"))
}

// CheckRestored refuses a folder in which a restore was cut off.
func (d Folder) CheckRestored() error {
	state, err := d.RestoreState()
	if err != nil || state == "" {
		return err
	}
	return fmt.Errorf("a restore into %s was cut off: what is there is not a whole log; "+
		"run `truebond restore` again", d.Path)
}

// PlaceRestored puts the log that was restored whole where it belongs, and lets the folder
// serve again. A log that is there stays under another name, which it tells. Cut off at any
// point, it may be done again.
func (d Folder) PlaceRestored() (aside string, err error) {
	made := filepath.Join(d.Join(RestoringFolder), LogFolder)
	if _, err := os.Stat(made); err == nil {
		if _, err := os.Stat(d.Join(LogFolder)); err == nil {
			if aside, err = d.MoveAside(LogFolder); err != nil {
				return "", err
			}
		}
		if err := errors.Join(os.Rename(made, d.Join(LogFolder)), d.Sync()); err != nil {
			return aside, err
		}
	}
	if err := os.RemoveAll(d.Join(RestoringFolder)); err != nil {
		return aside, err
	}
	return aside, d.Remove(RestoringFile)
}

// AddEraseAgain notes people whose erasure the restored log has not. A server erases them
// before it serves.
func (d Folder) AddEraseAgain(users []string) error {
	before, err := d.EraseAgain()
	if err != nil || len(users) == 0 {
		return err
	}
	return d.Replace(eraseAgainFile, []byte(strings.Join(append(before, users...), "\n")+"\n"))
}

// EraseAgain are those whom AddEraseAgain has noted.
func (d Folder) EraseAgain() ([]string, error) {
	text, err := os.ReadFile(d.Join(eraseAgainFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// ForgetEraseAgain takes the note away when all in it are erased.
func (d Folder) ForgetEraseAgain() error { return d.Remove(eraseAgainFile) }

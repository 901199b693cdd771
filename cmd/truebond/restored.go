package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"truebond/commands"
	"truebond/events"
	"truebond/ledger"
)

const (
	logFolder       = "log"
	restoringFile   = "restore-unfinished" // tells how far a restore is: one of the two below
	restoringFolder = "restore"            // what a restore has made so far
	eraseAgainFile  = "erase-again"        // who was erased after the moment that the log was restored to
)

// How far a restore is that has not ended yet.
const (
	restoreBegun = "begun" // what it has made so far counts for nothing
	restoreWhole = "whole" // what it has made is verified, and is to be put where the log belongs
)

// restoreState is how far a restore is; empty if none is under way.
func (d dataFolder) restoreState() (string, error) {
	text, err := os.ReadFile(d.join(restoringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

func (d dataFolder) markRestore(state string) error {
	return d.replace(restoringFile, []byte(state+"\n"))
}

// checkRestored refuses a folder in which a restore was cut off.
func (d dataFolder) checkRestored() error {
	state, err := d.restoreState()
	if err != nil || state == "" {
		return err
	}
	return fmt.Errorf("a restore into %s was cut off: what is there is not a whole log; "+
		"run `truebond restore` again", d.path)
}

// placeRestored puts the log that was restored whole where it belongs, and lets the folder
// serve again. A log that is there stays under another name, which it tells. Cut off at any
// point, it may be done again.
func (d dataFolder) placeRestored() (aside string, err error) {
	made := filepath.Join(d.join(restoringFolder), logFolder)
	if _, err := os.Stat(made); err == nil {
		if _, err := os.Stat(d.join(logFolder)); err == nil {
			if aside, err = d.moveAside(logFolder); err != nil {
				return "", err
			}
		}
		if err := errors.Join(os.Rename(made, d.join(logFolder)), d.sync()); err != nil {
			return aside, err
		}
	}
	if err := os.RemoveAll(d.join(restoringFolder)); err != nil {
		return aside, err
	}
	return aside, d.remove(restoringFile)
}

// addEraseAgain notes people whose erasure the restored log has not. A server erases them
// before it serves.
func (d dataFolder) addEraseAgain(users []string) error {
	before, err := d.eraseAgain()
	if err != nil || len(users) == 0 {
		return err
	}
	return d.replace(eraseAgainFile, []byte(strings.Join(append(before, users...), "\n")+"\n"))
}

func (d dataFolder) eraseAgain() ([]string, error) {
	text, err := os.ReadFile(d.join(eraseAgainFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// repeatErasures erases those again whose erasure was left behind by a restore to an
// earlier moment. Who had not signed up by then has no documents, but perhaps a key.
func (s *server) repeatErasures(ctx context.Context) error {
	users, err := s.folder.eraseAgain()
	if err != nil {
		return err
	}
	noted, err := s.eraseAgainNoted(ctx)
	if users = append(users, noted...); err != nil || len(users) == 0 {
		return err
	}
	ctx = ledger.WithCaller(ctx, ledger.Caller{Actor: events.System})
	for _, user := range users {
		_, err := s.do.Erase(ctx, commands.Erase{UserID: user, Reason: "was erased before the log was restored"})
		var refused *ledger.Refusal
		if errors.As(err, &refused) && (refused.Code == ledger.CodeUnknownUser || refused.Code == ledger.CodeNothingToDo) {
			err = s.vault.Erase(ctx, user)
		}
		if err != nil {
			return fmt.Errorf("erase %s again: %w", user, err)
		}
	}
	s.logger.InfoContext(ctx, "erased again, as before the log was restored", "people", len(users))
	return errors.Join(s.folder.remove(eraseAgainFile), s.forgetEraseAgain(ctx))
}

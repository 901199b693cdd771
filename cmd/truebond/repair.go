package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/wording"
	"truebond/events"
	"truebond/events/archive"
	"truebond/events/jetstream"
)

// damagedFolder is where a damaged log is read from: a copy, since a log's server changes
// its files as it opens them.
const damagedFolder = "restore-damaged"

// repair compares a folder's log with the archive, and makes a new one if it is damaged.
func (r *restore) repair(ctx context.Context) (err error) {
	copied := r.folder.Join(damagedFolder)
	if err := os.RemoveAll(copied); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	damaged := r.folder.Join(datafolder.LogFolder)
	err = os.CopyFS(datafolder.Folder{Path: copied}.Join(datafolder.LogFolder), jetstream.Readable(damaged))
	switch {
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("copy the damaged log: %w; its disk fails: copy what can be read of %s to another one, "+
			"and restore there", err, r.folder.Path)
	case err != nil:
		return fmt.Errorf("copy the damaged log: %w", err)
	}
	log, err := openLog(ctx, jetstream.Options{Dir: copied, Damaged: true})
	if err != nil {
		return fmt.Errorf("the log cannot be opened at all (%w): move %s away, and what only it has is lost",
			err, r.folder.Join(datafolder.LogFolder))
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var found archive.Damage
	err = r.show(ctx, "inspect", r.restorer.Archive.Last(), func() (err error) {
		found, err = r.restorer.Inspect(ctx, log)
		return err
	})
	if err != nil {
		return err
	}
	if found.None() {
		fmt.Fprintf(r.out, "The log in %s is sound, up to position %d. Nothing was changed.\n", r.folder.Path, found.Last)
		return r.folder.Remove(datafolder.RestoringFile)
	}
	if found.Bad > 0 {
		fmt.Fprintf(r.out, "%s, from event %d on: %v. The archive has what belongs there.\n",
			wording.Counted(found.Bad, "event is damaged", "events are damaged"), found.First, found.Why)
	}
	if kept := found.Sound - r.restorer.Archive.Last(); kept > 0 {
		fmt.Fprintf(r.out, "%s.\n", wording.Counted(kept,
			"event is in the log alone, and sound: it is kept", "events are in the log alone, and sound: they are kept"))
	}
	if err := refuseNewer(found); err != nil {
		return err
	}
	if err := r.refuseUnsigned(ctx, archive.Until{}, found); err != nil {
		return err
	}
	if err := r.tellLoss(found); err != nil {
		return err
	}
	return r.intoFolder(ctx, archive.Until{}, found)
}

// refuseNewer refuses to go on with a log in which a newer program has written. That is no loss to accept:
// the newer one keeps it.
func refuseNewer(found archive.Damage) error {
	if !errors.Is(found.Cause, events.ErrNewer) {
		return nil
	}
	return fmt.Errorf("%w: restore with that program. Nothing was changed", found.Cause)
}

// tellLoss tells what cannot be kept, and refuses to go on unless the operator accepts that.
func (r *restore) tellLoss(found archive.Damage) error {
	if found.Lost == 0 {
		return nil
	}
	loss := fmt.Sprintf("%s cannot be kept: %v", wording.EventRange(found.Sound+1, found.Sound+found.Lost), found.Cause)
	if !r.acceptLoss {
		return fmt.Errorf("%s; nothing was changed: --accept-loss goes on without them", loss)
	}
	fmt.Fprintf(r.out, "Lost: %s.\n", loss)
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"

	"truebond/cmd/truebond/settings"
)

// verifyArchive reads every event of an archive, and checks what is checked of a log.
func verifyArchive(ctx context.Context, v verification, out io.Writer) error {
	against, err := v.readCheckpoints()
	if err != nil {
		return err
	}
	s, err := settings.Read()
	if err != nil {
		return err
	}
	store, err := openArchivePlace(v.from, s)
	if err != nil {
		return err
	}
	a, signed, err := openArchive(ctx, store)
	if err != nil {
		return err
	}
	if signed != nil {
		c, err := v.openCheckpoint(signed)
		if err != nil {
			return fmt.Errorf("read the archive's checkpoint: %w", err)
		}
		against = append(against, keptCheckpoint{c, "in " + store.String()})
	}
	checker, err := newChecker(against)
	if err != nil {
		return err
	}
	read, err := readWhole(ctx, archivedLog{a}, checker, nil)
	if err != nil {
		return err
	}
	return v.report(out, "archive", read, against)
}

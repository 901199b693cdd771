package main

import (
	"context"
	"fmt"
	"io"

	"truebond/cmd/truebond/settings"
	"truebond/events"
	"truebond/events/archive"
	"truebond/events/audit"
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
	read, err := readArchive(ctx, a, against)
	if err != nil {
		return err
	}
	return v.report(out, "archive", read, against)
}

// readArchive reads the archive to its end.
func readArchive(ctx context.Context, a *archive.Archive, against []keptCheckpoint) (*audit.Reader, error) {
	codec, err := events.NewCodec()
	if err != nil {
		return nil, err
	}
	checker, err := newChecker(against)
	if err != nil {
		return nil, err
	}
	reader := audit.NewReader(codec, checker, func(position uint64) ([]byte, error) { return a.Body(ctx, position) })
	err = a.Walk(ctx, func(s archive.Segment) error {
		for _, body := range s.Bodies {
			if err := reader.Add(body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reader, reader.Done()
}

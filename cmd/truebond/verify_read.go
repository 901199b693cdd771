package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"truebond/events"
	"truebond/events/archive"
	"truebond/events/audit"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
	"truebond/events/merkle"
)

// A wholeLog is a log that can be read from its beginning to its end.
type wholeLog interface {
	// Bodies yields the bodies of all events in their order, some at a time.
	Bodies(ctx context.Context, yield func(bodies [][]byte) error) error
	// Body reads an event again that was yielded before.
	Body(ctx context.Context, position uint64) ([]byte, error)
	Close() error
}

// A sentLog is a log as its servers send it.
type sentLog struct{ *jetstream.Log }

const (
	// verifyStall is how long the log may be silent before an event that should be there is
	// called unreadable.
	verifyStall = time.Minute
	batchVerify = 1000 // events at a time
)

func (l sentLog) Bodies(ctx context.Context, yield func(bodies [][]byte) error) error {
	if err := l.Check(ctx, nil); err != nil {
		return err
	}
	last, err := l.Last(ctx)
	if err != nil || last == 0 {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, stall := errors.New("done"), errors.New("it cannot be read")
	stalled := time.AfterFunc(verifyStall, func() { cancel(stall) })
	defer stalled.Stop()
	read := uint64(0)
	err = l.FollowBodies(ctx, 0, batchVerify, func(_ uint64, bodies [][]byte) error {
		stalled.Reset(verifyStall)
		if err := yield(bodies[:min(uint64(len(bodies)), last-read)]); err != nil {
			return err
		}
		if read += uint64(len(bodies)); read >= last {
			return done
		}
		return nil
	})
	switch {
	case errors.Is(err, done):
		return nil
	case errors.Is(err, stall):
		return &audit.Fault{Position: read + 1, Err: stall}
	}
	return err
}

// An archivedLog is a log as its archive has it.
type archivedLog struct{ *archive.Archive }

func (l archivedLog) Bodies(ctx context.Context, yield func(bodies [][]byte) error) error {
	return l.Walk(ctx, func(s archive.Segment) error { return yield(s.Bodies) })
}

func (archivedLog) Close() error { return nil }

// readWhole reads a log to its end, and tells of each event that is right.
func readWhole(
	ctx context.Context, log wholeLog, checker *merkle.Checker, told func(events.Event),
) (*audit.Reader, error) {
	codec, err := events.NewCodec()
	if err != nil {
		return nil, err
	}
	reader := audit.NewReader(codec, checker, func(position uint64) ([]byte, error) { return log.Body(ctx, position) })
	reader.Told = told
	err = log.Bodies(ctx, func(bodies [][]byte) error {
		for _, body := range bodies {
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

// readBeside reads a log likewise, beside the files of the tree that its server has made.
func readBeside(ctx context.Context, log wholeLog, against []keptCheckpoint,
	own *keptCheckpoint, stored *checkpoints.Stored, told func(events.Event)) (*audit.Reader, error) {
	checker, err := newChecker(against)
	if err != nil {
		return nil, err
	}
	differs := compareStored(checker, own, stored)
	read, err := readWhole(ctx, log, checker, told)
	if first := differs(); first != nil {
		return nil, whichIsRight(err, *first, against, stored)
	}
	return read, err
}

// compareStored holds the tree's files against what the log's events hash to. It gives
// what tells the first node that differs.
func compareStored(
	checker *merkle.Checker, own *keptCheckpoint, stored *checkpoints.Stored,
) (first func() *merkle.Node) {
	var found *merkle.Node
	checker.Told = func(n merkle.Node) {
		if found != nil || own == nil || (n.Index+1)<<n.Level > own.Size {
			return // behind the checkpoint, the files promise nothing
		}
		if hash, known := stored.Next(n); known && hash != n.Hash {
			found = &n
		}
	}
	return func() *merkle.Node { return found }
}

// whichIsRight tells, when the log and the tree's files differ, which of them it is that
// was signed.
func whichIsRight(failed error, first merkle.Node, against []keptCheckpoint, stored *checkpoints.Stored) error {
	if failed == nil {
		return fmt.Errorf("the log is right, but the Merkle tree in the data folder is not "+
			"(from event %d on): remove the folder tree, and the server builds it again", first.Index<<first.Level+1)
	}
	signed := func(c keptCheckpoint) bool { return c.Size > first.Index && stored.SignedIn(c.Checkpoint) }
	if first.Level > 0 || !slices.ContainsFunc(against, signed) {
		return failed
	}
	position := first.Index + 1
	var fault *audit.Fault
	if errors.As(failed, &fault) && fault.Position > 0 && fault.Position <= position {
		return failed
	}
	return &audit.Fault{Position: position, Err: fmt.Errorf("it is not the event that was signed (%w)", failed)}
}

package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"truebond/events"
	"truebond/events/merkle"
)

// BodyLog is a log that is read as exact bytes.
type BodyLog interface {
	Last(ctx context.Context) (uint64, error)
	// Body reads one event; its error says why it cannot.
	Body(ctx context.Context, position uint64) ([]byte, error)
	// ReadBodies reads so many events behind a position, all of them or an error.
	ReadBodies(ctx context.Context, after uint64, count int) ([][]byte, error)
}

// Damage is what a log and its archive have told of each other.
type Damage struct {
	Last  uint64 // where the log ends
	Bad   uint64 // how many events the archive has that the log lacks, or has otherwise
	First uint64 // position of the first of these; 0 if there is none
	Until uint64 // position of the last of these
	Why   error  // what was wrong with that
	Sound uint64 // up to here the log can be kept beyond the archive: the archive's end, or later
	Lost  uint64 // how many events behind Sound there were, which can be kept no more
	Cause error  // why these cannot be kept

	log BodyLog
}

// None tells whether the log is whole.
func (d Damage) None() bool { return d.Bad == 0 && d.Lost == 0 }

// Inspect compares a log with the archive, event by event, and looks how much of what
// only the log has can be kept: what follows on the archive without a gap, can be read,
// and is true to the checkpoints. Its error wraps ErrOther when the two have nothing in
// common.
func (r *Restorer) Inspect(ctx context.Context, log BodyLog) (Damage, error) {
	last, err := log.Last(ctx)
	if err != nil {
		return Damage{}, fmt.Errorf("inspect the log: %w", err)
	}
	in := inspection{Restorer: r, Damage: Damage{Last: last, Sound: r.Archive.Last(), log: log}, last: last}
	err = r.Archive.walk(ctx, log, r.Checkpoints, func(s Segment) error { return in.compare(ctx, s) })
	if err == nil && in.Bad == 0 {
		err = in.archive
	}
	if err != nil {
		return in.Damage, fmt.Errorf("inspect the log: %w", err)
	}
	if in.archive != nil {
		in.Why = fmt.Errorf("%w (so is the archive elsewhere, where the log has what belongs there: %w)", in.Why, in.archive)
	}
	if in.same == 0 && r.Archive.Last() > 0 && last > 0 {
		return in.Damage, fmt.Errorf("inspect the log: %w: no event is the same in both", ErrOther)
	}
	if err := in.lookBeyond(ctx); err != nil {
		return in.Damage, fmt.Errorf("inspect the log: %w", err)
	}
	return in.Damage, nil
}

// Absent is what there is to tell when there is no log at all.
func (r *Restorer) Absent() Damage {
	last := r.Archive.Last()
	d := Damage{Bad: last, First: 1, Until: last, Why: errBehind, Sound: last}
	d.lose(r.Checkpoints, nil)
	return d
}

// lose counts what is lost of a log that was once as long as it ends or checkpoints say, and tells why.
func (d *Damage) lose(checkpoints []merkle.Checkpoint, why error) {
	known := d.Last
	for _, c := range checkpoints {
		known = max(known, c.Size)
	}
	if known <= d.Sound {
		return
	}
	if d.Lost, d.Cause = known-d.Sound, why; why == nil {
		d.Cause = fmt.Errorf("a checkpoint was signed for %d events, and the log ends at %d", known, d.Last)
	}
}

type inspection struct {
	*Restorer
	Damage
	last    uint64
	same    uint64
	joins   bool // the archive's last event is the log's, too
	tree    merkle.Tree
	archive error // what is damaged in the archive, and whole in the log
}

// compare holds the log's events against a segment's.
func (in *inspection) compare(ctx context.Context, s Segment) error {
	for _, body := range s.Bodies {
		in.tree.Add(merkle.LeafHash(body), nil)
	}
	if s.damage != nil {
		in.archive, in.joins = errors.Join(in.archive, s.damage), true
		return nil
	}
	return inRows(s.First-1, s.Last(), func(after uint64, count int) error {
		found, errs := in.read(ctx, after, count)
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range count {
			position, kept := after+1+uint64(i), s.Bodies[after+1+uint64(i)-s.First]
			err := errs[i]
			if err == nil && !bytes.Equal(found[i], kept) {
				err = errors.New("it is not the one that was archived")
			}
			if in.joins = err == nil; in.joins {
				in.same++
				continue
			}
			if in.Bad, in.Until = in.Bad+1, position; in.First == 0 {
				in.First, in.Why = position, err
			}
		}
		in.tell(after + uint64(count))
		return nil
	})
}

var errBehind = errors.New("the log ends before it")

// read reads events that may not all be there.
func (in *inspection) read(ctx context.Context, after uint64, count int) (bodies [][]byte, errs []error) {
	errs = make([]error, count)
	if after+uint64(count) <= in.last {
		bodies, err := in.log.ReadBodies(ctx, after, count)
		if err == nil && len(bodies) == count {
			return bodies, errs
		}
	}
	bodies = make([][]byte, count)
	for i := range count {
		if position := after + 1 + uint64(i); position > in.last {
			errs[i] = errBehind
		} else if bodies[i], errs[i] = in.log.Body(ctx, position); errs[i] == nil && len(bodies[i]) == 0 {
			errs[i] = events.ErrGap
		}
	}
	return bodies, errs
}

// lookBeyond looks how much of what the archive lacks can be kept.
func (in *inspection) lookBeyond(ctx context.Context) error {
	end := in.Archive.Last()
	proved := end // up to where a checkpoint vouches for the log
	row := func(after uint64, count int) error {
		bodies, errs := in.read(ctx, after, count)
		for i, body := range bodies {
			position := after + 1 + uint64(i)
			if errs[i] == nil {
				_, errs[i] = in.Codec.Decode(position, body)
			}
			if errs[i] != nil {
				return fmt.Errorf("event %d: %w", position, errs[i])
			}
			in.tree.Add(merkle.LeafHash(body), nil)
			in.Sound = position
			for _, c := range in.Checkpoints {
				if c.Size != position {
					continue
				}
				if c.Root != in.tree.Root() {
					return fmt.Errorf("%w: of the events %d to %d one was changed", merkle.ErrRoot, proved+1, position)
				}
				proved = position
			}
		}
		return nil
	}
	broken := inRows(end, max(end, in.last), row) // by what cannot be kept, if anything
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case errors.Is(broken, merkle.ErrRoot):
		in.Sound = proved
	case in.Sound > proved && !in.joins && end > 0:
		in.Sound = proved
		broken = errors.New("the event before them is damaged, and no checkpoint vouches for them")
	}
	in.lose(in.Checkpoints, broken)
	return nil
}

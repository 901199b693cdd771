package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"truebond/events"
	"truebond/events/merkle"
)

// NewLog is a log that is made from an archive.
type NewLog interface {
	BodyLog
	// Append puts records behind a position, all of them or an error.
	Append(ctx context.Context, after uint64, records []events.Record) error
}

// batchBytesMax bounds the bodies of what is appended at once, beside events.BatchMax.
const batchBytesMax = 8 << 20

// Until says where to stop. The zero value stops nowhere.
type Until struct {
	Position uint64    // the last position that is wanted; 0: any
	Time     time.Time // the last moment that is wanted; zero: any
}

func (u Until) covers(e events.Event) bool {
	return (u.Position == 0 || e.Position <= u.Position) && (u.Time.IsZero() || !e.Time.After(u.Time))
}

// Restored is what a restore has made.
type Restored struct {
	Last   uint64   // position of the last event that is in the new log
	Erased []string // who was erased by an event that is not in it
	Unsure int      // how many of these events no checkpoint covers: somebody may have made them up
	tree   merkle.Tree
}

// A Restorer makes a log from an archive.
type Restorer struct {
	Archive *Archive
	Codec   *events.Codec
	// Checkpoints are what the archive must be true to. Whose signatures they have was
	// checked.
	Checkpoints []merkle.Checkpoint
	// Has is how many of the archive's events the new log has already, as Inspect has found.
	Has uint64
	// Told hears how far it is; nil: nobody does.
	Told func(done uint64)
}

// Restore puts the archive's events into a new log, which may have the first of them
// already (see Has), and behind them those of a damaged log that Inspect has found good, if
// any. The archive is read to its end in any case, to compare it with the checkpoints.
// After an error the new log is of no use.
func (r *Restorer) Restore(ctx context.Context, to NewLog, until Until, found Damage) (Restored, error) {
	w := restoring{Restorer: r, to: to, until: until, vouched: r.Vouched()}
	if last, err := to.Last(ctx); err != nil || last != r.Has {
		return w.done, errors.Join(err, fmt.Errorf("restore into a log of %d events: it must have %d", last, r.Has))
	}
	var err error
	if w.check, err = r.checker(found); err != nil {
		return w.done, err
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.batches = make(chan []events.Record)
	appended := make(chan error, 1)
	go func() {
		err := w.append(work)
		cancel(err)
		appended <- err
	}()
	err = w.readAll(work, found)
	close(w.batches)
	if err = errors.Join(<-appended, err); err != nil {
		return w.done, fmt.Errorf("restore from %s: %w", r.Archive.store, err)
	}
	return w.done, nil
}

// Vouched is how many of the archive's first events the checkpoints cover. Who can write the archive can
// put others behind these.
func (r *Restorer) Vouched() (size uint64) {
	for _, c := range r.Checkpoints {
		size = max(size, c.Size)
	}
	return size
}

// checker checks against all checkpoints. When it was found what is lost, which has been told
// of, those of that are left out.
func (r *Restorer) checker(found Damage) (*merkle.Checker, error) {
	var due []merkle.Checkpoint
	for _, c := range r.Checkpoints {
		if found.Sound == 0 || c.Size <= found.Sound {
			due = append(due, c)
		}
	}
	slices.SortStableFunc(due, func(x, y merkle.Checkpoint) int { return cmp.Compare(x.Size, y.Size) })
	return merkle.NewChecker(due...)
}

// A restoring is a restore under way.
type restoring struct {
	*Restorer
	to      NewLog
	until   Until
	check   *merkle.Checker
	vouched uint64
	beyond  bool // what comes is not wanted
	waiting []events.Record
	bytes   int
	batches chan []events.Record // to who appends them, while the next one is read and checked
	done    Restored
}

// readAll takes the archive's events, and those that were found good behind them.
func (w *restoring) readAll(ctx context.Context, found Damage) error {
	end := w.Archive.Last()
	err := w.Archive.walk(ctx, found.log, w.Checkpoints, func(s Segment) error {
		return w.take(ctx, s.First, s.Bodies)
	})
	if err != nil {
		return err
	}
	err = inRows(end, max(end, found.Sound), func(after uint64, count int) error {
		bodies, err := found.log.ReadBodies(ctx, after, count)
		if err != nil {
			return err
		}
		return w.take(ctx, after+1, bodies)
	})
	if err != nil {
		return err
	}
	if err := w.check.Done(); err != nil {
		return err
	}
	return w.flush(ctx)
}

func (w *restoring) take(ctx context.Context, first uint64, bodies [][]byte) error {
	for i, body := range bodies {
		leaf := merkle.LeafHash(body)
		if err := w.check.AddLeaf(leaf); err != nil {
			return err
		}
		e, err := w.Codec.Decode(first+uint64(i), body)
		if err != nil {
			return err
		}
		if w.beyond = w.beyond || !w.until.covers(e); w.beyond {
			if erased, ok := e.Data.(events.UserErased); ok {
				w.done.Erased = append(w.done.Erased, erased.User)
				if e.Position > w.vouched {
					w.done.Unsure++
				}
			}
			continue
		}
		w.done.tree.Add(leaf, nil)
		if w.done.Last = e.Position; e.Position <= w.Has {
			continue
		}
		w.waiting, w.bytes = append(w.waiting, events.Record{Event: e, Body: body}), w.bytes+len(body)
		if len(w.waiting) >= events.BatchMax || w.bytes >= batchBytesMax {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	w.tell(first + uint64(len(bodies)) - 1)
	return nil
}

// flush hands on what is waiting. It fails when an append has failed.
func (w *restoring) flush(ctx context.Context) error {
	if len(w.waiting) == 0 {
		return nil
	}
	select {
	case w.batches <- w.waiting:
		w.waiting, w.bytes = nil, 0
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// append appends batches until there are no more.
func (w *restoring) append(ctx context.Context) error {
	for batch := range w.batches {
		if err := w.to.Append(ctx, batch[0].Position-1, batch); err != nil {
			return err
		}
	}
	return nil
}

func (r *Restorer) tell(done uint64) {
	if r.Told != nil {
		r.Told(done)
	}
}

// Verify reads a new log to its end, and fails when it has not the very bytes that were
// restored.
func (r *Restorer) Verify(ctx context.Context, log BodyLog, restored Restored) error {
	last, err := log.Last(ctx)
	if err == nil && last != restored.Last {
		err = fmt.Errorf("it ends at %d and not at %d", last, restored.Last)
	}
	var tree merkle.Tree
	if err == nil {
		err = inRows(0, last, func(after uint64, count int) error {
			bodies, err := log.ReadBodies(ctx, after, count)
			for _, body := range bodies {
				tree.Add(merkle.LeafHash(body), nil)
			}
			r.tell(after + uint64(len(bodies)))
			return err
		})
	}
	if err == nil && tree.Root() != restored.tree.Root() {
		err = errors.New("it has not the bytes that were put into it")
	}
	if err != nil {
		return fmt.Errorf("verify the restored log: %w", err)
	}
	return nil
}

// inRows goes from behind one position to another, some events at a time.
func inRows(after, last uint64, do func(after uint64, count int) error) error {
	for after < last {
		count := min(last-after, readMax)
		if err := do(after, int(count)); err != nil {
			return err
		}
		after += count
	}
	return nil
}

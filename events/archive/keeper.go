package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"truebond/events"
	"truebond/events/merkle"
)

// Log is what is archived.
type Log interface {
	// Last is the position of the last event; 0 when there is none.
	Last(ctx context.Context) (uint64, error)
	// ReadRange reads the next events after a position, max of them at most.
	ReadRange(ctx context.Context, after uint64, max int) ([]events.Record, error)
}

// readMax is how many events are read from the log at once.
const readMax = 1000

// A Keeper makes an archive grow with its log. One at a time is enough for an archive; a
// second one, of another server of the same log, does no harm. Its methods may be called
// at the same time.
type Keeper struct {
	archive *Archive
	log     Log
	logger  *slog.Logger

	mu        sync.Mutex
	tree      edge    // of all events that are archived or in open
	open      Segment // the last one, which is not full
	openBytes int
	eventsMax int      // of a segment
	kept      string   // the name under which an open segment is there; empty if it is not
	end       string   // the name of the last segment that is there; empty if none is
	stale     []string // what goes when the open segment is there in full
	signing   string   // the name under which the next checkpoint is there already; empty if it is not

	position atomic.Uint64
}

// Resume goes on with the archive in a store, which may be empty. It compares the first
// and the last segment with the log.
//
// Errors: ErrOther, ErrAhead, ErrDamaged, events.ErrGap, or what the store or the log says.
func Resume(ctx context.Context, store Store, log Log, logger *slog.Logger) (*Keeper, error) {
	a, err := Open(ctx, store)
	if err != nil {
		return nil, err
	}
	k := &Keeper{archive: a, log: log, logger: logger, open: Segment{First: 1}, eventsMax: segmentEventsMax}
	if len(a.segments) == 0 {
		return k, nil
	}
	last, err := log.Last(ctx)
	if err != nil {
		return nil, err
	}
	if last < a.Last() {
		return nil, fmt.Errorf("%w: the archive in %s ends at %d, the log at %d", ErrAhead, store, a.Last(), last)
	}
	newest := a.segments[len(a.segments)-1]
	ends := []name{a.segments[0], newest}
	if len(a.segments) == 1 {
		ends = ends[1:]
	}
	for _, n := range ends {
		if k.open, err = a.get(ctx, n); err != nil {
			return nil, err
		}
		if err := compareWith(ctx, log, k.open); err != nil {
			return nil, fmt.Errorf("compare the archive in %s: %w", store, err)
		}
	}
	if err := k.compareReplaced(ctx); err != nil {
		return nil, fmt.Errorf("compare the archive in %s: %w", store, err)
	}
	return k, k.goOn(newest)
}

// compareReplaced fails with ErrOther when what the last segment has replaced is not its beginning: a
// copy of the log has gone its own way, and is archived in the same place. What is replaced goes, so
// this is looked at before. Of several the longest will do, since each keeper removes its own.
func (k *Keeper) compareReplaced(ctx context.Context) error {
	for _, text := range k.archive.superseded {
		n, ok := parseName(text)
		if !ok || n.first != k.open.First {
			continue
		}
		replaced, err := k.archive.get(ctx, n)
		switch {
		case errors.Is(err, ErrDamaged), errors.Is(err, fs.ErrNotExist): // nothing is lost with it
			return nil
		case err != nil:
			return err
		case !slices.EqualFunc(replaced.Bodies, k.open.Bodies[:len(replaced.Bodies)], bytes.Equal):
			return fmt.Errorf("%w: two logs were archived there, and have other events in %s", ErrOther, text)
		}
		return nil
	}
	return nil
}

// goOn takes up the last segment.
func (k *Keeper) goOn(newest name) error {
	tree, err := resumeEdge(k.open.First-1, k.open.edge)
	if err != nil {
		return err
	}
	k.tree = *tree
	for _, body := range k.open.Bodies {
		k.tree.add(body)
		k.openBytes += len(body)
	}
	k.kept, k.end = newest.text, newest.text
	for _, text := range k.archive.superseded { // a crash has left them
		if n, ok := parseName(text); !ok || n.first == newest.first {
			k.stale = append(k.stale, text)
		}
	}
	k.position.Store(newest.last)
	return nil
}

// compareWith fails with ErrOther when the log has not the segment's events.
func compareWith(ctx context.Context, log Log, s Segment) error {
	for at := 0; at < len(s.Bodies); {
		records, err := log.ReadRange(ctx, s.First-1+uint64(at), min(readMax, len(s.Bodies)-at))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("%w: the log ends at %d", ErrAhead, s.First-1+uint64(at))
		}
		for _, r := range records {
			if !bytes.Equal(r.Body, s.Bodies[at]) {
				return fmt.Errorf("%w: event %d differs", ErrOther, r.Position)
			}
			at++
		}
	}
	return nil
}

// Position is that of the last event that is archived for certain.
func (k *Keeper) Position() uint64 { return k.position.Load() }

// Keep archives all events up to a position, which are in the log for certain. It may be
// asked again after an error, and goes on where it was; after ErrGone, another keeper has to.
func (k *Keeper) Keep(ctx context.Context, upTo uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.goesOn(ctx); err != nil {
		return err
	}
	return k.keep(ctx, upTo, func() error { return nil })
}

// KeepSigned archives all events that a checkpoint of the log covers, and then the
// checkpoint. It fails with ErrOther when that was not signed for what is archived. A
// checkpoint of less than is archived already is passed over.
func (k *Keeper) KeepSigned(ctx context.Context, signed []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := merkle.ParseCheckpoint(signed)
	if err != nil {
		return err
	}
	if err := k.goesOn(ctx); err != nil {
		return err
	}
	if c.Size < k.tree.tree.Size() || c.Size <= k.archive.signed {
		return nil
	}
	err = k.keep(ctx, c.Size, func() error {
		if root := k.tree.tree.Root(); root != c.Root {
			return fmt.Errorf("%w: the root of %d archived events is %v, and %v was signed", ErrOther, c.Size, root, c.Root)
		}
		return k.announce(ctx, c.Size, signed)
	})
	if err != nil {
		return err
	}
	name := nameCheckpoint(c.Size, signed, checkpointEnding)
	if err := k.put(ctx, name, signed); err != nil {
		return err
	}
	if old := k.archive.checkpoint; old != "" {
		k.stale = append(k.stale, old)
	}
	k.stale, k.signing = append(k.stale, k.signing), ""
	k.archive.checkpoint, k.archive.signed = name, c.Size
	k.sweep(ctx)
	return nil
}

// announce puts a checkpoint before the last of what it covers. When the process ends between the last segment and its
// checkpoint, the segment is signed for all the same.
func (k *Keeper) announce(ctx context.Context, size uint64, signed []byte) error {
	name := nameCheckpoint(size, signed, signingEnding)
	if k.signing != "" && k.signing != name {
		k.stale = append(k.stale, k.signing)
	}
	k.signing = name
	return k.put(ctx, name, signed)
}

// goesOn fails with ErrGone when the archive does not end with what was put last: what came next would
// stand behind a gap.
func (k *Keeper) goesOn(ctx context.Context) error {
	if k.end == "" {
		return nil
	}
	names, err := k.archive.store.List(ctx, k.end)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%w: %s", ErrGone, k.end)
	}
	return err
}

// keep archives events up to a position. The last of them, in a segment that is not full, are put there
// when check finds them right.
func (k *Keeper) keep(ctx context.Context, upTo uint64, check func() error) error {
	for {
		size := k.tree.tree.Size()
		if size >= upTo {
			if err := check(); err != nil {
				return err
			}
		}
		if k.isFull() || size >= upTo {
			if err := k.write(ctx); err != nil {
				return err
			}
		}
		if size >= upTo {
			return nil
		}
		count := min(upTo-size, readMax, uint64(k.eventsMax-len(k.open.Bodies)))
		records, err := k.log.ReadRange(ctx, size, int(count))
		if err != nil {
			return fmt.Errorf("read what is to be archived: %w", err)
		}
		if len(records) == 0 {
			return fmt.Errorf("archive up to event %d: the log ends at %d", upTo, size)
		}
		for _, r := range records {
			if k.isFull() {
				break // the rest is read again for the next segment
			}
			k.open.Bodies = append(k.open.Bodies, r.Body)
			k.openBytes += len(r.Body)
			k.tree.add(r.Body)
		}
	}
}

func (k *Keeper) isFull() bool {
	return len(k.open.Bodies) >= k.eventsMax || k.openBytes >= segmentBytesMax
}

// write keeps the open segment, and begins the next one if it is full.
func (k *Keeper) write(ctx context.Context) error {
	if len(k.open.Bodies) == 0 {
		return nil
	}
	if k.open.Last() > k.position.Load() {
		n, object, err := k.open.encode(k.archive.pack)
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if err := k.put(ctx, n.text, object); err != nil {
			return err
		}
		if k.kept != "" {
			k.stale = append(k.stale, k.kept)
		}
		k.kept, k.end = n.text, n.text
		k.position.Store(n.last)
	}
	k.sweep(ctx)
	if k.isFull() {
		k.open = Segment{First: k.open.Last() + 1, edge: k.tree.nodes()}
		k.openBytes, k.kept = 0, ""
	}
	return nil
}

// put puts an object and reads it back. One that is there already under this name, which
// tells its hash, is as good; what is not as it was written goes again.
func (k *Keeper) put(ctx context.Context, name string, object []byte) error {
	store := k.archive.store
	if err := store.PutIfAbsent(ctx, name, object); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("archive: %w", err)
	}
	back, err := store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("read back what was archived: %w", err)
	}
	if bytes.Equal(back, object) {
		return nil
	}
	err = fmt.Errorf("read back what was archived: %s: %w", name, ErrDamaged)
	return errors.Join(err, store.Delete(ctx, name))
}

// sweep removes what was replaced. Where that is not allowed, it does no harm.
func (k *Keeper) sweep(ctx context.Context) {
	for _, name := range k.stale {
		if err := k.archive.store.Delete(ctx, name); err != nil {
			k.logger.WarnContext(ctx, "what the archive has replaced stays there", "object", name, "error", err)
		}
	}
	k.stale = nil
}

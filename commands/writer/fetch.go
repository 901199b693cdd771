package writer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// A load is documents that were fetched for commands that lack them.
type load struct {
	refs     []ledger.Ref
	epoch    uint64 // when it was asked for
	found    map[ledger.Ref]StoredDocument
	storedAt uint64 // what is not in found does not exist as of this position
	err      error
}

const (
	// fetchMax is how many documents one query asks for.
	fetchMax = 1000
	// lookUpsMax is how many look-ups are under way at a time. What is missed meanwhile
	// waits for the next one, all together.
	lookUpsMax = 2
	// lookUpTimeout is what a store may take before it counts as failed.
	lookUpTimeout = 5 * time.Second
)

// lookUp has the documents that are wanted read outside the loop; they come back
// through loads.
func (l *loop) lookUp(ctx context.Context) {
	if len(l.wanted) == 0 || l.lookUps >= lookUpsMax {
		return
	}
	l.lookUps++
	refs, epoch := l.wanted, l.epoch
	l.wanted = nil
	go func() {
		f := l.read(ctx, refs)
		f.epoch = epoch
		select {
		case l.loads <- f:
		case <-l.stopped:
		}
	}()
}

// read reads documents, a look-up a fold.
func (w *Writer) read(ctx context.Context, refs []ledger.Ref) load {
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	// The position comes first: what does not exist when it is asked for later did not
	// exist at this position either, since the writer's folds delete nothing.
	f := load{refs: refs, storedAt: w.stored.Stored(), found: map[ledger.Ref]StoredDocument{}}
	keys := map[string][]string{}
	for _, ref := range refs {
		keys[ref.Fold] = append(keys[ref.Fold], ref.Key)
	}
	for fold, wanted := range keys {
		for len(wanted) > 0 {
			some := wanted[:min(len(wanted), fetchMax)]
			wanted = wanted[len(some):]
			docs, err := w.stored.Fetch(ctx, fold, some)
			if err != nil {
				f.err = fmt.Errorf("fetch %d documents of %s: %w", len(some), fold, err)
				return f
			}
			for key, doc := range docs {
				f.found[ledger.Ref{Fold: fold, Key: key}] = doc
			}
		}
	}
	return f
}

// receive takes documents into memory, and makes those ready that lack no other.
func (l *loop) receive(ctx context.Context, f load) {
	l.lookUps--
	if f.epoch != l.epoch {
		// The log was read again meanwhile; what was fetched may be older than that.
		l.wanted = append(l.wanted, f.refs...)
		return
	}
	if f.err != nil {
		l.logger.ErrorContext(ctx, "documents that commands need cannot be read", "error", f.err)
	}
	for _, ref := range f.refs {
		err := f.err
		if err == nil {
			doc, exists := f.found[ref]
			l.seen = max(l.seen, doc.Position)
			if err = l.memory.install(ref, doc, exists, f.storedAt); err != nil {
				l.logger.ErrorContext(ctx, "a stored document cannot be read", "fold", ref.Fold, "error", err)
			}
		}
		waiters := l.fetching[ref]
		delete(l.fetching, ref)
		for _, c := range waiters {
			if c.failed = c.failed || err != nil; !c.failed {
				l.memory.pin(c, ref)
			}
			if c.lacks--; c.lacks > 0 {
				continue
			}
			if c.failed {
				l.settleAlone(c, ledger.ErrUnavailable)
			} else {
				l.ready = append(l.ready, c)
			}
		}
	}
}

// errBehind says that the stored documents are too far behind the log for what they
// lack to be kept in memory.
var errBehind = errors.New("the stored documents are too far behind the log")

// catchUp reads from the log what the documents in memory lack: at the start all that
// the stored ones lack, later what another writer wrote. It goes on asking until ctx
// ends or the log turns out to be broken. While the stored documents are too far behind
// it waits for them, and commands are refused.
func (w *Writer) catchUp(ctx context.Context) error {
	defer w.behind.Store(false)
	after := w.last.Load()
	if !w.started {
		after = w.stored.Stored()
	}
	for {
		n, err := w.readMore(ctx, after)
		if behind := errors.Is(err, errBehind); w.behind.Swap(behind) != behind && behind {
			w.logger.WarnContext(ctx, "commands wait for the stored documents", "position", w.stored.Stored())
		}
		switch {
		case err == nil && n == 0:
			w.started = true
			w.last.Store(after)
			return nil
		case err == nil:
			after += uint64(n)
			w.memory.round++
			w.memory.shrink(w.limits.Documents, w.stored.Stored(), nil) // answers that are on their way are void
			continue
		case errors.Is(err, events.ErrGap), errors.Is(err, events.ErrUnreadable):
			return err
		case !errors.Is(err, errBehind):
			w.logger.ErrorContext(ctx, "the log cannot be read", "after", after, "error", err)
		}
		if err := pause(ctx, w.pause); err != nil {
			return fmt.Errorf("read the log after %d: %w", after, err)
		}
	}
}

// readMore folds the next events of the log into memory, and tells how many it were.
func (w *Writer) readMore(ctx context.Context, after uint64) (int, error) {
	if !w.started && after > 0 && w.lastTime.IsZero() {
		last, err := w.log.Read(ctx, after)
		if err != nil {
			return 0, err
		}
		w.lastTime = last.Time
	}
	room := w.room(after)
	atOnce := int(min(max(room, 1), events.BatchMax)) // #nosec G115 -- it is bounded
	records, err := w.log.ReadRange(ctx, after, atOnce)
	if err != nil || len(records) == 0 {
		return 0, err
	}
	if room == 0 {
		return 0, errBehind
	}
	var touched []touch
	var missing []ledger.Ref
	asked := map[ledger.Ref]bool{}
	for _, r := range records {
		touched = w.memory.touches(r.Event, touched[:0])
		for _, t := range touched {
			if t.entry == nil && !asked[t.ref] {
				asked[t.ref] = true
				missing = append(missing, t.ref)
			}
		}
	}
	f := w.read(ctx, missing)
	if f.err != nil {
		return 0, f.err
	}
	for _, ref := range missing {
		doc, exists := f.found[ref]
		if err := w.memory.install(ref, doc, exists, f.storedAt); err != nil {
			return 0, fmt.Errorf("read stored document %s/%s: %w", ref.Fold, ref.Key, err)
		}
	}
	for _, r := range records {
		touched = w.memory.touches(r.Event, touched[:0])
		w.memory.apply(r.Event, touched, nil)
		if r.Time.After(w.lastTime) {
			w.lastTime = r.Time
		}
	}
	return len(records), nil
}

package commands

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

// ErrNoDocuments says that a command was not decided, since the store does not answer.
var ErrNoDocuments = ledger.Refuse("store_unavailable",
	"What this needs to know cannot be read at the moment. Try again in a moment.")

// fetchMax is how many documents one look-up asks for.
const fetchMax = 1000

// fetch has documents read outside the loop; they come back through loads.
func (l *loop) fetch(ctx context.Context, refs []ledger.Ref) {
	epoch := l.epoch
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
	// The position comes first: what does not exist when it is asked for later did not
	// exist at this position either, since the writer's folds delete nothing.
	f := load{refs: refs, storedAt: w.stored.Stored(), found: make(map[ledger.Ref]StoredDocument, len(refs))}
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
	if f.epoch != l.epoch {
		// The log was read again meanwhile; what was fetched may be older than that.
		l.fetch(ctx, f.refs)
		return
	}
	if f.err != nil {
		l.logger.ErrorContext(ctx, "documents that commands need cannot be read", "error", f.err)
	}
	for _, ref := range f.refs {
		err := f.err
		if err == nil {
			doc, exists := f.found[ref]
			err = l.memory.install(ref, doc, exists, f.storedAt)
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
				l.settle(c, outcome{err: ErrNoDocuments})
			} else {
				l.ready = append(l.ready, c)
			}
		}
	}
}

// CatchUp reads from the log what the documents in memory lack: at the start all that
// the stored ones lack, later what another writer wrote. It goes on asking until ctx
// ends or the log turns out to be broken.
func (w *Writer) CatchUp(ctx context.Context) error {
	after := w.last.Load()
	if !w.started {
		after = w.stored.Stored()
	}
	for {
		n, err := w.readMore(ctx, after)
		switch {
		case err == nil && n == 0:
			w.started = true
			w.last.Store(after)
			return nil
		case err == nil:
			after += uint64(n)
		case errors.Is(err, events.ErrGap):
			return err
		default:
			w.logger.ErrorContext(ctx, "the log cannot be read", "after", after, "error", err)
			if err := pause(ctx, pauseAfterFailure); err != nil {
				return fmt.Errorf("read the log after %d: %w", after, err)
			}
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
	records, err := w.log.ReadRange(ctx, after, batchMax)
	if err != nil || len(records) == 0 {
		return 0, err
	}
	touched := make([][]touch, len(records))
	var missing []ledger.Ref
	asked := map[ledger.Ref]bool{}
	for i, r := range records {
		touched[i] = w.memory.touches(r.Event, nil)
		for _, t := range touched[i] {
			if w.memory.docs[t.ref] == nil && !asked[t.ref] {
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
	for i, r := range records {
		w.memory.apply(r.Event, touched[i], nil)
		w.lastTime = later(w.lastTime, r.Time)
	}
	return len(records), nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

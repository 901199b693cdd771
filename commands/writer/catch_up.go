package writer

import (
	"context"
	"errors"
	"fmt"

	"truebond/events"
	"truebond/ledger"
)

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

// readMore folds the next events of the log into memory, and tells how many they were.
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
	f := w.fetch(ctx, missing)
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

package commands

import (
	"context"
	"log/slog"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// ActiveCalls is the view of the calls that are going on.
type ActiveCalls interface {
	// Active are calls that are going on, of those that began after a position, in the
	// order in which they began, at most max.
	Active(ctx context.Context, after uint64, max int) ([]ledger.Call, error)
}

const (
	goneAfter  = 15 * time.Second // without a sign of life, a party is gone
	gonePause  = time.Second      // between two looks
	activePage = 500
)

// Watch ends the calls whose parties are gone. It goes by the wall clock, also under
// the test clock: from the accept, the last sign of life, or the server's start.
type Watch struct {
	service *Service
	calls   ActiveCalls
	since   time.Time            // the server's start
	known   map[string]time.Time // the last sign of life of each party, `<call>/<user>`
	logger  *slog.Logger
}

// NewWatch makes a watch over the calls that are going on.
func NewWatch(s *Service, calls ActiveCalls, logger *slog.Logger) *Watch {
	return &Watch{service: s, calls: calls, since: time.Now(), known: map[string]time.Time{}, logger: logger}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.logger.ErrorContext(ctx, "calls cannot be watched", "error", err)
		}
		pause(ctx, gonePause)
	}
	return nil
}

// look goes once through all calls that are going on.
func (w *Watch) look(ctx context.Context) error {
	seen := map[string]time.Time{}
	defer func() { w.known = seen }()
	for after := uint64(0); ; {
		calls, err := w.calls.Active(ctx, after, activePage)
		if err != nil {
			return err
		}
		for _, c := range calls {
			after = c.Position
			if err := w.check(ctx, c, seen); err != nil {
				return err
			}
		}
		if len(calls) < activePage {
			return nil
		}
	}
}

// check ends a call if one of its parties is gone, and notes in seen when each was heard
// of last.
func (w *Watch) check(ctx context.Context, c ledger.Call, seen map[string]time.Time) error {
	for _, party := range []string{c.From, c.To} {
		last, err := w.service.Presence.LastSeen(ctx, c.ID, party)
		if err != nil {
			return err // without Redis nobody knows who is there; nobody is hung up on
		}
		id := c.ID + "/" + party
		// A Redis that was restarted knows nothing of a call. What was seen here counts
		// then; of a party never heard of, the moment that it was first missed.
		if last = later(last, w.known[id]); last.IsZero() {
			last = time.Now()
		}
		seen[id] = last
		if time.Since(later(last, w.since)) <= goneAfter {
			continue
		}
		_, err = w.service.Writer.Do(ctx, writer.Command{
			Key: "call/" + c.ID + "/gone/" + party, Actor: events.System, Joins: true,
			Decide: ledger.EndCallGone(c.ID, party),
		})
		w.logger.InfoContext(ctx, "a call's party is gone", "call", c.ID, "error", err)
		return nil
	}
	return nil
}

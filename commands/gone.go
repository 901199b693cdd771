package commands

import (
	"context"
	"log/slog"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// ActiveCalls is the view of the calls that are going on.
type ActiveCalls interface {
	// Active are calls that are going on, after the one with this id, at most max.
	Active(ctx context.Context, after string, max int) ([]ledger.Call, error)
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
	first   map[string]time.Time // when each call was first seen going on
	logger  *slog.Logger
}

// NewWatch makes a watch over the calls that are going on.
func NewWatch(s *Service, calls ActiveCalls, logger *slog.Logger) *Watch {
	return &Watch{service: s, calls: calls, since: time.Now(), first: map[string]time.Time{}, logger: logger}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.logger.ErrorContext(ctx, "calls cannot be watched", "error", err)
		}
		_ = pause(ctx, gonePause)
	}
	return nil
}

// look goes once through all calls that are going on.
func (w *Watch) look(ctx context.Context) error {
	seen := map[string]time.Time{}
	defer func() { w.first = seen }()
	for after := ""; ; {
		calls, err := w.calls.Active(ctx, after, activePage)
		if err != nil {
			return err
		}
		for _, c := range calls {
			after = c.ID
			first, known := w.first[c.ID]
			if !known {
				first = time.Now()
			}
			seen[c.ID] = first
			if err := w.check(ctx, c, first); err != nil {
				return err
			}
		}
		if len(calls) < activePage {
			return nil
		}
	}
}

// check ends a call if one of its parties is gone.
func (w *Watch) check(ctx context.Context, c ledger.Call, first time.Time) error {
	for _, party := range []string{c.From, c.To} {
		last, err := w.service.Presence.LastSeen(ctx, c.ID, party)
		if err != nil {
			return err // without Redis nobody knows who is there; nobody is hung up on
		}
		// The accept notes a sign of life of both. Without one, Redis has lost it: the
		// call counts from when it was first seen here, at the server's start or later.
		if last.IsZero() {
			last = first
		}
		if time.Since(later(last, w.since)) <= goneAfter {
			continue
		}
		_, err = w.service.Writer.Do(ctx, Command{
			Key: "call/" + c.ID + "/gone/" + party, Actor: events.System, Joins: true,
			Decide: ledger.EndCallGone(c.ID, party),
		})
		w.logger.InfoContext(ctx, "a call's party is gone", "call", c.ID, "error", err)
		return nil
	}
	return nil
}

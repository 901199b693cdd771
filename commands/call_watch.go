package commands

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
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
	since   time.Time         // the server's start
	known   map[string]sign   // the last sign of life of each party, `<call>/<user>`
	gone    map[string]ending // by their ids: calls that were to end, for as long as the views have them as active
	logger  *slog.Logger
}

// A sign is the last sign of life of a party.
type sign struct {
	noted time.Time // as it was noted; zero: none was
	at    time.Time // when that was, counted from when it was first seen here: the clock may be set meanwhile
}

// An ending is what came of a call that was to end.
type ending struct {
	over bool
	told string // why it could not, as the log has it already
}

// NewWatch makes a watch over the calls that are going on.
func NewWatch(s *Service, calls ActiveCalls, logger *slog.Logger) *Watch {
	return &Watch{service: s, calls: calls, since: time.Now(), known: map[string]sign{},
		gone: map[string]ending{}, logger: logger}
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
	active := map[string]bool{}
	for after := uint64(0); ; {
		calls, err := w.calls.Active(ctx, after, activePage)
		if err != nil {
			return err
		}
		for _, c := range calls {
			after, active[c.ID] = c.Position, true
			if w.gone[c.ID].over {
				continue
			}
			if err := w.check(ctx, c); err != nil {
				return err
			}
		}
		if len(calls) < activePage {
			maps.DeleteFunc(w.gone, func(call string, _ ending) bool { return !active[call] })
			maps.DeleteFunc(w.known, func(party string, _ sign) bool {
				call, _, _ := strings.Cut(party, "/")
				return !active[call]
			})
			return nil
		}
	}
}

// check ends a call if one of its parties is gone, and notes when each was heard of last.
func (w *Watch) check(ctx context.Context, c ledger.Call) error {
	for _, party := range []string{c.From, c.To} {
		noted, err := w.service.Presence.LastSeen(ctx, c.ID, party)
		if err != nil {
			return err // without Redis nobody knows who is there; nobody is hung up on
		}
		id := c.ID + "/" + party
		last := w.known[id].after(noted)
		w.known[id] = last
		if time.Since(later(last.at, w.since)) <= goneAfter {
			continue
		}
		w.end(ctx, c.ID, party)
		return nil
	}
	return nil
}

// after is the last sign of life when this one is noted. A Redis that was restarted knows none: what was
// seen here counts then; of a party never heard of, the moment that it was first missed. One that seems to be
// from the future was noted just now, or before the clock was set back, or by a clock that is ahead.
func (s sign) after(noted time.Time) sign {
	now := time.Now()
	switch {
	case s.at.IsZero() && noted.IsZero():
		return sign{at: now}
	case noted.IsZero() || noted.Equal(s.noted):
		return s
	}
	return sign{noted, later(s.at, now.Add(-max(0, now.Sub(noted))))}
}

// end ends a call. What came of it is told once, though it is tried until the call is over.
func (w *Watch) end(ctx context.Context, call, gone string) {
	_, err := w.service.Writer.Do(ctx, writer.Command{
		Key: "call/" + call + "/gone/" + gone, Actor: events.System, Joins: true,
		Decide: ledger.EndCallGone(call, gone),
	})
	var refused *ledger.Refusal
	switch {
	case err == nil:
		w.gone[call] = ending{over: true}
		w.logger.InfoContext(ctx, "a call's party is gone", "call", call)
	case errors.As(err, &refused) && isOver(refused.Code):
		w.gone[call] = ending{over: true}
		w.logger.DebugContext(ctx, "a call was over when its party was gone", "call", call, "why", refused.Code)
	case ctx.Err() == nil && w.gone[call].told != err.Error():
		w.gone[call] = ending{told: err.Error()}
		w.logger.WarnContext(ctx, "a call whose party is gone cannot be ended, and is tried again",
			"call", call, "error", err)
	}
}

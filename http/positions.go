package http

import (
	"context"
	"errors"
	nethttp "net/http"
	"strconv"
	"sync"

	"truebond/ledger"
)

const headerPosition = "Ledger-Position"

// positionsMax bounds the callers remembered; the writer stops taking commands long
// before so many of them are ahead of the views.
const positionsMax = 100_000

// Positions remembers where in the log each caller wrote last, for all who may serve the
// caller's next read.
type Positions interface {
	// Note remembers that these callers are to see a position. After an error, the command
	// is done and nobody must be told so: a read might not show it.
	Note(ctx context.Context, position uint64, who ...string) error
	// Of is where the views must be for a caller to see their own writes; 0 if they are there.
	Of(ctx context.Context, who string) (uint64, error)
	// Newest is at least the greatest position that any caller was told.
	Newest(ctx context.Context) (uint64, error)
}

// lastPositions remembers where in the log each caller wrote last, for as long as the
// views have not got there, so that a read sees its caller's own writes.
type lastPositions struct {
	stored func() uint64 // how far the views are
	max    int

	mu       sync.Mutex
	last     map[string]uint64
	floor    uint64 // everybody's last position is at least this: what was forgotten
	greatest uint64 // of all that was noted
}

// newLastPositions begins with everybody at least at floor: who wrote what before the
// server's start is not known any more.
func newLastPositions(stored func() uint64, most int, floor uint64) *lastPositions {
	return &lastPositions{stored: stored, max: most, last: map[string]uint64{}, floor: floor, greatest: floor}
}

// Note remembers that callers wrote at a position. It never fails.
func (l *lastPositions) Note(_ context.Context, position uint64, who ...string) error {
	stored := l.stored()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.greatest = max(l.greatest, position)
	if position <= stored {
		return nil
	}
	for _, name := range who {
		if position <= l.last[name] {
			continue
		}
		if len(l.last) >= l.max {
			l.forget(stored)
		}
		l.last[name] = position
	}
	return nil
}

// forget drops what the views have passed. If that is not enough it drops all, and lets
// everyone wait for the greatest of them: too long a wait is no wrong answer.
func (l *lastPositions) forget(stored uint64) {
	for who, position := range l.last {
		if position <= stored {
			delete(l.last, who)
		}
	}
	if len(l.last) < l.max {
		return
	}
	for _, position := range l.last {
		l.floor = max(l.floor, position)
	}
	clear(l.last)
}

// Of is where the views must be for a caller to see their own writes; 0 if they are there.
func (l *lastPositions) Of(_ context.Context, who string) (uint64, error) {
	stored := l.stored()
	l.mu.Lock()
	defer l.mu.Unlock()
	position := max(l.last[who], l.floor)
	if position > stored {
		return position, nil
	}
	delete(l.last, who)
	return 0, nil
}

// Newest is the greatest position that any caller was told.
func (l *lastPositions) Newest(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.greatest, nil
}

// awaitViews waits, for a bounded time, until the views are at a position. Errors: a
// refusal if that is too long, or beyond the log's end.
func (s *Server) awaitViews(ctx context.Context, position uint64) error {
	if position == 0 || position <= s.cfg.Stored() {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.WaitMax)
	defer cancel()
	err := s.cfg.Wait(bounded, position)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ledger.Refuse("views_behind", "What is read does not show position %d yet. Try again.", position)
	}
	return err
}

// awaitNewest waits likewise for all that anybody was told.
func (s *Server) awaitNewest(ctx context.Context) error {
	newest, err := s.cfg.Positions.Newest(ctx)
	if err != nil {
		return err
	}
	return s.awaitViews(ctx, newest)
}

// wantedPosition is what a read asks to see, in its header; 0 if it does not say.
func (r *Route) wantedPosition(req *nethttp.Request) (uint64, error) {
	sent := req.Header.Values(headerPosition)
	if len(sent) == 0 || r.command() {
		return 0, nil
	}
	position, err := strconv.ParseUint(sent[0], 10, 63)
	if err != nil || len(sent) > 1 {
		return 0, newProblem("invalid_position", "The header does not name a position of the log.",
			fieldError{Pointer: "#/" + headerPosition, In: "header", Detail: "must be a whole number, 0 or more"})
	}
	return position, nil
}

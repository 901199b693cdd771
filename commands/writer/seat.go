package writer

import (
	"context"
	"errors"
	"sync/atomic"

	"truebond/ledger"
)

// A Decider decides commands. See Writer for what its methods promise.
type Decider interface {
	Do(ctx context.Context, c Command) (Done, error)
	DoAll(ctx context.Context, all []Command) ([]Outcome, error)
	Look(ctx context.Context, look func(*ledger.Tx) error) error
	Last() uint64
}

// ErrNoLeader says that this process does not decide. What was asked may be done all the
// same when it has only just lost that right.
var ErrNoLeader = ledger.Refuse("no_leader", "The server that decides is changing. What was asked may be done "+
	"all the same: the same request with the same Idempotency-Key tells.")

// ErrDeposed is the cause with which to end the term of a Writer that may not decide any
// more: it answers nobody then, since it cannot know what another has decided.
var ErrDeposed = errors.New("another process decides now")

// A Seat is where the writer of the present term sits. A writer runs once, and a process
// may lead more than once.
type Seat struct {
	writer atomic.Pointer[Writer]
	last   atomic.Uint64 // of those who sat here before
}

// Take lets a writer decide from now on.
func (s *Seat) Take(w *Writer) { s.writer.Store(w) }

// Leave lets nobody decide.
func (s *Seat) Leave() {
	if w := s.writer.Swap(nil); w != nil {
		s.last.Store(max(s.last.Load(), w.Last()))
	}
}

// Do is the present writer's; ErrNoLeader if there is none, or not any more.
func (s *Seat) Do(ctx context.Context, c Command) (Done, error) {
	w := s.writer.Load()
	if w == nil {
		return Done{}, ErrNoLeader
	}
	done, err := w.Do(ctx, c)
	return done, s.explain(w, err)
}

// DoAll is the present writer's likewise.
func (s *Seat) DoAll(ctx context.Context, all []Command) ([]Outcome, error) {
	w := s.writer.Load()
	if w == nil {
		return nil, ErrNoLeader
	}
	outcomes, err := w.DoAll(ctx, all)
	for i := range outcomes {
		outcomes[i].Err = s.explain(w, outcomes[i].Err)
	}
	return outcomes, s.explain(w, err)
}

// Look is the present writer's likewise.
func (s *Seat) Look(ctx context.Context, look func(*ledger.Tx) error) error {
	w := s.writer.Load()
	if w == nil {
		return ErrNoLeader
	}
	return s.explain(w, w.Look(ctx, look))
}

// Reread is the present writer's; who sits here next begins with what is stored.
func (s *Seat) Reread(ctx context.Context) error {
	if w := s.writer.Load(); w != nil {
		return w.Reread(ctx)
	}
	return nil
}

// explain tells a writer that was deposed from a server that stops.
func (s *Seat) explain(w *Writer, err error) error {
	if errors.Is(err, ErrStopping) && w.deposed.Load() {
		return ErrNoLeader
	}
	return err
}

// Last is the last position that a writer here has seen in the log.
func (s *Seat) Last() uint64 {
	if w := s.writer.Load(); w != nil {
		return max(s.last.Load(), w.Last())
	}
	return s.last.Load()
}

// UnderWay is how many commands wait for their outcome.
func (s *Seat) UnderWay() int {
	if w := s.writer.Load(); w != nil {
		return w.UnderWay()
	}
	return 0
}

// Warm is the writer's; false while nobody sits here.
func (s *Seat) Warm() bool {
	w := s.writer.Load()
	return w != nil && w.Warm()
}

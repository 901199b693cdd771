package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"truebond/commands/writer"
	"truebond/events/jetstream"
	"truebond/projections"
)

// shown is how far the views are: as the projector of this process knows while it leads,
// and as the store tells otherwise.
type shown struct {
	log      *jetstream.Log
	follower *projections.Follower // nil when nobody else can lead
	sure     func() bool           // whether this process is the only one that stores views

	mu      sync.Mutex
	now     *projections.Projector // nil while another process leads
	terms   uint64                 // how often it was taken or left
	changed chan struct{}
}

func newShown(log *jetstream.Log, follower *projections.Follower, sure func() bool) *shown {
	return &shown{log: log, follower: follower, sure: sure, changed: make(chan struct{})}
}

// take goes by a projector of this process; nil: not any more.
func (s *shown) take(p *projections.Projector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
	s.terms++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shown) present() (*projections.Projector, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

// Position is the position up to which whatever is read from a view holds all events.
func (s *shown) Position() uint64 {
	var position uint64
	if p, _ := s.present(); p != nil {
		position = p.Position()
	}
	if s.follower != nil {
		position = max(position, s.follower.Position())
	}
	return position
}

// Changes counts how often documents of a view may have changed. ok is false while another
// process may store them. No two terms have a count in common.
func (s *shown) Changes(view string) (count uint64, ok bool) {
	const perTerm = 40 // bits of a term's own count: a year of a million a minute
	s.mu.Lock()
	p, terms := s.now, s.terms
	s.mu.Unlock()
	if p == nil || !s.sure() {
		return 0, false
	}
	count, ok = p.Changes(view)
	return terms<<perTerm | count, ok
}

// Wait returns when the views are at a position, whoever stores them.
func (s *shown) Wait(ctx context.Context, position uint64) error {
	for {
		p, changed := s.present()
		waiting, cancel := context.WithCancelCause(ctx)
		stop := make(chan struct{})
		go func() {
			select {
			case <-changed:
				cancel(errRole)
			case <-stop:
			}
		}()
		err := s.wait(waiting, p, position)
		close(stop)
		again := errors.Is(context.Cause(waiting), errRole)
		cancel(nil)
		if err == nil || !again {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err // and not that waiting was ended from within
		}
	}
}

var errRole = errors.New("another process stores the views now")

func (s *shown) wait(ctx context.Context, p *projections.Projector, position uint64) error {
	switch {
	case p != nil:
		return p.Wait(ctx, position)
	case s.follower != nil:
		return s.follower.Wait(ctx, position)
	}
	<-ctx.Done()
	return ctx.Err()
}

// Behind is how many events of the log the views lack.
func (s *shown) Behind(ctx context.Context) (uint64, error) {
	position := s.Position() // first, so that it is not beyond the log's end
	last, err := s.log.Last(ctx)
	if err != nil {
		return 0, err
	}
	return last - min(position, last), nil
}

// Rebuild builds views again. Only who leads can.
func (s *shown) Rebuild(ctx context.Context, names []string, progress func(string, uint64, uint64)) error {
	p, _ := s.present()
	if p == nil {
		return writer.ErrNoLeader
	}
	return unlessStopped(p.Rebuild(ctx, names, progress))
}

// Compare compares a view with its fold. Only who leads can.
func (s *shown) Compare(ctx context.Context, view string, progress func(done, total uint64)) (
	projections.Comparison, error) {
	p, _ := s.present()
	if p == nil {
		return projections.Comparison{}, writer.ErrNoLeader
	}
	comparison, err := p.Compare(ctx, view, progress)
	return comparison, unlessStopped(err)
}

// unlessStopped tells whom a projector has left that another one comes.
func unlessStopped(err error) error {
	if errors.Is(err, projections.ErrStopped) {
		return fmt.Errorf("%w: %w", writer.ErrNoLeader, err)
	}
	return err
}

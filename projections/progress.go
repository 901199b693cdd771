package projections

import (
	"context"
	"slices"
	"sync"
	"time"
)

// progress is how far the views are, and whom that concerns.
type progress struct {
	mu       sync.Mutex
	loaded   bool
	front    uint64            // where the tables are that are folded on together
	floor    uint64            // where the live table is that is least far of all others
	building []string          // views without a live table of today's version
	serving  bool              // the live tables are folded on, here
	changes  map[string]uint64 // how often documents of a view were written, here
	turns    uint64            // how often serving has begun or ended: other tables may be live since
	changed  chan struct{}
	wanted   uint64        // the furthest position that somebody has waited for
	hurry    chan struct{} // has room for one: somebody waits now
}

func newProgress() progress {
	return progress{changes: map[string]uint64{}, changed: make(chan struct{}), hurry: make(chan struct{}, 1)}
}

// rest waits for a while, or until somebody waits for a position that is not there yet.
func (s *progress) rest(ctx context.Context, most time.Duration) {
	s.mu.Lock()
	awaited := s.wanted > s.front
	select {
	case <-s.hurry: // it is known, or of somebody who has got what he waited for
	default:
	}
	s.mu.Unlock()
	if awaited {
		return
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-s.hurry:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *progress) load(now plan) {
	s.set(func() { s.loaded, s.front, s.floor, s.building = true, now.front, now.floor, now.building })
}

// advance is called when a batch is stored: who waits for it then also sees that these
// views have changed.
func (s *progress) advance(front uint64, written []string) {
	s.set(func() {
		s.front = front
		for _, view := range written {
			s.changes[view]++
		}
	})
}

// serve tells whether the live tables are folded on from now on. Who has done so meanwhile
// is not known, so any view may have changed, also one that was never written here.
func (s *progress) serve(serving bool) {
	s.set(func() {
		s.serving = serving
		s.turns++
	})
}

func (s *progress) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *progress) frontPosition() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.front
}

// await returns when the views are at a position, and built if that is asked for too.
func (s *progress) await(ctx context.Context, position uint64, built bool) error {
	for {
		s.mu.Lock()
		there := s.loaded && min(s.front, s.floor) >= position && (!built || len(s.building) == 0)
		changed := s.changed
		if !there {
			s.wanted = max(s.wanted, position)
		}
		s.mu.Unlock()
		if there {
			return nil
		}
		select {
		case s.hurry <- struct{}{}:
		default: // it is known already
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Position is where the live table is that is least far: whatever is read from a view
// holds all events up to it. Call Prepare before.
func (p *Projector) Position() uint64 { return p.state.position() }

// position is 0 until it is known.
func (s *progress) position() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.front, s.floor)
}

// Changes counts how often documents of a view may have changed. While the count stays
// the same, they have not. ok is false while nobody here can tell.
func (p *Projector) Changes(view string) (count uint64, ok bool) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	return p.state.changes[view] + p.state.turns, p.state.serving
}

// Wait returns when Position has come to a position, or with ctx's error when that ends
// first.
func (p *Projector) Wait(ctx context.Context, position uint64) error {
	return p.state.await(ctx, position, false)
}

// WaitBuilt returns when each view is read from a table of today's version, and
// Position has come to a position. Before, documents may be of an older version: they
// may be read, and nothing may be decided by them.
func (p *Projector) WaitBuilt(ctx context.Context, position uint64) error {
	return p.state.await(ctx, position, true)
}

// Building are the views that are not read from a table of today's version yet.
func (p *Projector) Building() []string {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	return slices.Clone(p.state.building)
}

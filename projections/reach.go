package projections

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A reach is how far the views have come, and who waits for that.
type reach struct {
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

func newReach() reach {
	return reach{changes: map[string]uint64{}, changed: make(chan struct{}), hurry: make(chan struct{}, 1)}
}

// rest waits for a while, or until somebody waits for a position that is not there yet.
func (r *reach) rest(ctx context.Context, most time.Duration) {
	r.mu.Lock()
	awaited := r.wanted > r.front
	select {
	case <-r.hurry: // it is known, or of somebody who has got what they waited for
	default:
	}
	r.mu.Unlock()
	if awaited {
		return
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-r.hurry:
	case <-timer.C:
	case <-ctx.Done():
	}
}

const (
	awaitedEvery = 20 * time.Millisecond  // between two looks of a follower while somebody waits
	idleEvery    = 500 * time.Millisecond // while nobody does
)

// pace waits until the next look of a follower is due.
func (r *reach) pace(ctx context.Context) {
	r.mu.Lock()
	awaited := r.wanted > min(r.front, r.floor)
	r.mu.Unlock()
	most := idleEvery
	if awaited {
		most = awaitedEvery
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	hurry := r.hurry
	if awaited {
		hurry = nil // it is known already
	}
	select {
	case <-hurry:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *reach) load(now plan) {
	r.set(func() { r.loaded, r.front, r.floor, r.building = true, now.front, now.floor, now.building })
}

// advance is called when a batch is stored: who waits for it then also sees that these
// views have changed.
func (r *reach) advance(front uint64, written []string) {
	r.set(func() {
		r.front = front
		for _, view := range written {
			r.changes[view]++
		}
	})
}

// serve tells whether the live tables are folded on from now on. Who has done so meanwhile
// is not known, so any view may have changed, also one that was never written here.
func (r *reach) serve(serving bool) {
	r.set(func() {
		r.serving = serving
		r.turns++
	})
}

func (r *reach) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *reach) frontPosition() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.front
}

// await returns when the views are at a position, and built if that is asked for too.
func (r *reach) await(ctx context.Context, position uint64, built bool) error {
	for {
		r.mu.Lock()
		there := r.loaded && min(r.front, r.floor) >= position && (!built || len(r.building) == 0)
		changed := r.changed
		if !there {
			r.wanted = max(r.wanted, position)
		}
		r.mu.Unlock()
		if there {
			return nil
		}
		select {
		case r.hurry <- struct{}{}:
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
func (p *Projector) Position() uint64 { return p.reach.position() }

// position is 0 until it is known.
func (r *reach) position() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(r.front, r.floor)
}

// Changes counts how often documents of a view may have changed. While the count stays
// the same, they have not. ok is false while nobody here can tell.
func (p *Projector) Changes(view string) (count uint64, ok bool) {
	p.reach.mu.Lock()
	defer p.reach.mu.Unlock()
	return p.reach.changes[view] + p.reach.turns, p.reach.serving
}

// Wait returns when Position has come to a position, or with ctx's error when that ends
// first.
func (p *Projector) Wait(ctx context.Context, position uint64) error {
	return p.reach.await(ctx, position, false)
}

// WaitBuilt returns when each view is read from a table of today's version, and
// Position has come to a position. Before, documents may be of an older version: they
// may be read, and nothing may be decided by them.
func (p *Projector) WaitBuilt(ctx context.Context, position uint64) error {
	return p.reach.await(ctx, position, true)
}

// Building are the views that are not read from a table of today's version yet.
func (p *Projector) Building() []string {
	p.reach.mu.Lock()
	defer p.reach.mu.Unlock()
	return slices.Clone(p.reach.building)
}

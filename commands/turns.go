package commands

import (
	"context"
	"sync"
)

// turns lets those of one name go one after the other, and those of others meanwhile.
type turns struct {
	mu    sync.Mutex
	names map[string]*turn
}

// A turn is of one name: who holds its place, and how many want it.
type turn struct {
	place chan struct{}
	users int
}

func newTurns() *turns { return &turns{names: map[string]*turn{}} }

// take waits for the turn. Call done when it is over.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	t.mu.Lock()
	this := t.names[name]
	if this == nil {
		this = &turn{place: make(chan struct{}, 1)}
		t.names[name] = this
	}
	this.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if this.users--; this.users == 0 {
			delete(t.names, name)
		}
	}
	select {
	case this.place <- struct{}{}:
		return func() { <-this.place; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

package writer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"truebond/ledger"
)

// rereads are the wishes to have the writer read its documents again.
type rereads struct {
	open atomic.Bool   // there are some
	bell chan struct{} // has room for one: the loop is to look

	mu      sync.Mutex
	waiting []chan struct{} // each is closed when they were read
}

func (r *rereads) add() <-chan struct{} {
	done := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, done)
	r.open.Store(true)
	select {
	case r.bell <- struct{}{}:
	default: // it rings already
	}
	return done
}

func (r *rereads) take() []chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open.Store(false)
	taken := r.waiting
	r.waiting = nil
	return taken
}

// Reread has the writer forget what it knows and read it again, as after a start: what is stored was
// mended. When it returns without an error, nothing is decided by what was known before. When ctx ends
// first, that will be so all the same.
func (w *Writer) Reread(ctx context.Context) error {
	done := w.rereads.add()
	select {
	case <-done:
	case <-w.stopped: // whoever comes next begins with what is stored
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// reread forgets all documents, with the filters of used keys that were made from them, and
// reads what the stored ones lack. Nothing is on its way into the log meanwhile.
func (l *loop) reread(ctx context.Context) error {
	waiting := l.rereads.take()
	l.takeBack()
	l.memory, l.started = newMemory(ledger.Folds()), false
	l.warm.Store(false)
	if err := l.catchUp(ctx); err != nil {
		return fmt.Errorf("read the documents again: %w", err)
	}
	l.beginFilter(ctx)
	for _, done := range waiting {
		close(done)
	}
	return nil
}

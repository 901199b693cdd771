package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// works are the goroutines of a server. They stop in the reverse of the order in which
// they were started, so that each outlives what needs it.
type works struct {
	ctx      context.Context
	failures chan<- error
	mu       sync.Mutex
	running  []work
}

type work struct {
	name string
	stop context.CancelFunc
	done chan struct{}
}

func newWorks(ctx context.Context, failures chan<- error) *works {
	return &works{ctx: ctx, failures: failures}
}

// start runs something until it is stopped. An error before that is the server's end.
func (w *works) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(w.ctx)
	this := work{name, cancel, make(chan struct{})}
	w.mu.Lock()
	w.running = append(w.running, this)
	w.mu.Unlock()
	go func() {
		defer close(this.done)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			select {
			case w.failures <- fmt.Errorf("%s: %w", name, err):
			default: // one failure is enough to end a server
			}
		}
	}()
}

// stopAll stops them one after the other, the last first. When the time is over, the
// rest is told to stop at once.
func (w *works) stopAll(ctx context.Context) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range slices.Backward(w.running) {
		one.stop()
		select {
		case <-one.done:
		case <-ctx.Done():
			err = errors.Join(err, fmt.Errorf("stop %s: %w", one.name, ctx.Err()))
		}
	}
	w.running = nil
	return err
}

// sleep is false when ctx ends before.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

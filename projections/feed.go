package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"truebond/events"
)

// A feed reads the log ahead: the next batch is read and decoded while one is folded.
type feed struct {
	batches chan []events.Record
	ended   chan error // never nil
	cancel  context.CancelFunc
	task    sync.WaitGroup
}

// follow starts a feed of what comes after a position. Stop it.
func (p *Projector) follow(ctx context.Context, after uint64) *feed {
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{batches: make(chan []events.Record), ended: make(chan error, 1), cancel: cancel}
	f.task.Go(func() {
		err := p.log.Follow(ctx, after, p.limits.batchEvents, func(records []events.Record) error {
			select {
			case f.batches <- slices.Clone(records): // the log may use its slice again
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err == nil {
			err = errors.New("it stopped by itself")
		}
		f.ended <- fmt.Errorf("%w after %d: %w", ErrUnreadable, after, err)
	})
	return f
}

// stop ends a feed. Nothing of it is left running.
func (f *feed) stop() {
	f.cancel()
	f.task.Wait()
}

// errEnough ends each.
var errEnough = errors.New("enough")

// each hands over what comes after a position, until do says errEnough or fails.
func (p *Projector) each(ctx context.Context, after uint64, do func([]events.Record) error) error {
	f := p.follow(ctx, after)
	defer f.stop()
	for {
		select {
		case records := <-f.batches:
			if err := do(records); errors.Is(err, errEnough) {
				return nil
			} else if err != nil {
				return err
			}
		case err := <-f.ended:
			return err
		}
	}
}

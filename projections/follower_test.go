package projections_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"truebond/projections"
)

func (w *world) follower(t *testing.T) *projections.Follower {
	f := projections.NewFollower(w.store, someViews(), quiet())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return f
}

func TestAFollowerKnowsWhatAnotherProcessHasStored(t *testing.T) {
	w := newWorld(t)
	f := w.follower(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if f.Position() != 0 {
		t.Fatal("it knows more than there is")
	}
	p, _ := w.running()
	for range 5 {
		w.happens(20)
		last := w.log.last()
		if err := f.Wait(ctx, last); err != nil {
			t.Fatal(err)
		}
		// What it says is stored, is stored: whoever reads then reads it.
		if at := w.tables(); f.Position() < last || len(at) == 0 {
			t.Fatalf("it says %d, and the log ends at %d", f.Position(), last)
		}
		for name, table := range w.tables() {
			if table.Live && table.Position < last {
				t.Errorf("table %s is at %d, and it said %d", name, table.Position, last)
			}
		}
		w.caughtUp(p)
	}
	soon, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := f.Wait(soon, w.log.last()+1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it waited for what never came and says %v", err)
	}
}

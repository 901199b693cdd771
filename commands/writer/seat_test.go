package writer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// A sharedLog is a scripted one that others may write to, as a cluster's is.
type sharedLog struct {
	*scriptedLog
	confirmed int
	unsure    error
}

func (l *sharedLog) Confirm(_ context.Context, position uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed++
	if uint64(len(l.records)) > position {
		return fmt.Errorf("confirm: %w", events.ErrBeaten)
	}
	return l.unsure
}

// What a writer knows may be past when another one writes. A refusal must not rest on it,
// any more than an event.
func TestARefusalDoesNotRestOnWhatAnotherWriterHasChanged(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		shared := &sharedLog{scriptedLog: d.log}
		d.Writer = New(shared, d.shelf, d.log.codec, d.now, d.limits, d.logger)
		d.open()
		d.ask(block("k1", "bob")).got()
		d.log.otherWrites(t, "other", events.UserUnblocked{User: "ann", Blocked: "bob"})
		// By what this writer knows, bob is blocked already.
		if done := d.ask(block("k2", "bob")).got(); done.Event.Position != 3 {
			t.Errorf("it came to %+v", done)
		}
		if shared.confirmed == 0 {
			t.Error("nothing was confirmed")
		}
		var has bool
		d.log.otherWrites(t, "another", events.UserUnblocked{User: "ann", Blocked: "bob"})
		err := d.Look(t.Context(), func(tx *ledger.Tx) error {
			has = ledger.Load(tx, ledger.Blocks, "ann").Has("bob")
			return nil
		})
		if err != nil || has {
			t.Errorf("a look shows what is past: %v", err)
		}
	})
}

func TestADeposedWriterAnswersNobody(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		lost := errors.New("the lease is lost")
		shared := &sharedLog{scriptedLog: d.log, unsure: lost}
		w := New(shared, d.shelf, d.log.codec, d.now, d.limits, d.logger)
		var seat Seat
		if _, err := seat.Do(t.Context(), block("k0", "bob")); !errors.Is(err, ErrNoLeader) {
			t.Errorf("an empty seat says %v", err)
		}
		seat.Take(w)
		ctx, depose := context.WithCancelCause(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx, ctx) }()
		if _, err := seat.Do(t.Context(), block("k1", "bob")); err != nil {
			t.Fatal(err)
		}
		// It would be refused; but who knows what another one has decided by now.
		refused := make(chan error, 1)
		go func() {
			_, err := seat.Do(context.Background(), block("k2", "bob"))
			refused <- err
		}()
		d.log.before = func(int) error { return lost }
		decided := make(chan error, 1)
		go func() {
			_, err := seat.Do(context.Background(), block("k3", "carl"))
			decided <- err
		}()
		synctest.Wait()
		depose(ErrDeposed)
		for _, answer := range []chan error{refused, decided} {
			if err := <-answer; !errors.Is(err, ErrNoLeader) {
				t.Errorf("it was told %v", err)
			}
		}
		<-ended // it tells that some were not answered
		last := seat.Last()
		seat.Leave()
		if _, err := seat.Do(t.Context(), block("k4", "dora")); !errors.Is(err, ErrNoLeader) || seat.Last() != last {
			t.Errorf("a seat that was left says %v", err)
		}
	})
}

// What it works on for those who wait may be something that does not come, and another decides by then.
func TestAWriterIsDeposedAlsoWhileItStops(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		var seat Seat
		seat.Take(d.Writer)
		term, depose := context.WithCancelCause(t.Context())
		ctx, stop := context.WithCancel(term)
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx, term) }()
		synctest.Wait()
		d.shelf.fetch = func(ctx context.Context, _ string, _ []string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		told := make(chan error, 1)
		go func() {
			_, err := seat.Do(context.WithoutCancel(ctx), block("k1", "bob"))
			told <- err
		}()
		synctest.Wait()
		stop()
		synctest.Wait()
		began := time.Now()
		depose(ErrDeposed)
		if err := <-ended; err == nil {
			t.Error("the writer says that all were answered")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it works on for %v", took)
		}
		if err := <-told; !errors.Is(err, ErrNoLeader) {
			t.Errorf("who waits is told %v", err)
		}
	})
}

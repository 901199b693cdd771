package writer

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// The store had lost that ann blocks eve, and the key of that, until its documents were built again.
func TestWhatWasMendedInTheStoreIsReadAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.shelf.store(t, d.log.otherWrites(t, "k1", events.UserBlocked{User: "ann", Blocked: "bob"}))
		lost := maps.Clone(d.shelf.docs)
		d.shelf.store(t, d.log.otherWrites(t, "k2", events.UserBlocked{User: "ann", Blocked: "eve"}))
		whole := d.shelf.docs
		d.shelf.docs = lost
		append4 := make(gate)
		d.log.before = func(n int) error {
			if n == 2 {
				return append4.pass(n)
			}
			return nil
		}
		d.open()
		d.ask(block("k3", "mia")).got() // decided by what the store has
		underWay, behind := d.ask(block("k4", "zoe")), d.ask(block("k5", "eve"))

		d.shelf.docs = whole
		read := make(chan error, 1)
		go func() { read <- d.Reread(t.Context()) }()
		synctest.Wait()
		if len(read) > 0 {
			t.Fatal("it was read again while an append was under way")
		}
		close(append4)
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		underWay.got()
		behind.refused(errBlocked) // decided again
		d.ask(block("k3", "mia")).got()
		d.ask(block("k6", "mia")).refused(errBlocked)
		if got := d.ask(block("k2", "eve")).got(); !got.Replayed {
			t.Errorf("the key is used twice: %+v", got)
		}
		if len(d.log.records) != 4 {
			t.Errorf("the log has %d events", len(d.log.records))
		}
	})
}

// A batch is full just then, and so many others have what they lacked that no more are taken from the queue.
func TestAWriterThatHasNoRoomReadsAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		const all = events.BatchMax + readyMax + 1
		d.Writer = d.newWriter(Limits{Queue: 2 * all, Lag: 2 * all, Documents: 10_000})
		d.open()
		d.shelf.fetch = func(context.Context, string, []string) error { time.Sleep(time.Second); return nil }
		read := make(chan error, 1)
		asks := make([]Command, all)
		for i := range asks {
			asks[i] = block(fmt.Sprint("k", i), fmt.Sprint("u", i))
		}
		decide := asks[events.BatchMax-1].Decide
		meets := sync.OnceFunc(func() {
			d.shelf.fetch = nil
			go func() { read <- d.Reread(t.Context()) }()
			for !d.rereads.open.Load() {
				runtime.Gosched()
			}
		})
		asks[events.BatchMax-1].Decide = func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
			payload, moves, err := decide(tx)
			if len(tx.Missing()) == 0 {
				meets()
			}
			return payload, moves, err
		}
		outcomes, err := d.DoAll(t.Context(), asks)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomes {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

func TestNobodyWaitsForAWriterThatHasStoppedToReadAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := d.Reread(gone); err == nil {
			t.Error("a writer that does not run has read")
		}
		stop := running(t, d.Writer)
		synctest.Wait()
		stop()
		if err := d.Reread(t.Context()); err != nil {
			t.Error(err)
		}
		if err := (&Seat{}).Reread(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

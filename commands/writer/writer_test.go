package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/ledger"
)

func TestNobodyIsAnsweredBeforeTheLogHasIt(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.after = gate.pass
		d.open()
		blocks := d.ask(block("k1", "bob"))
		again := d.ask(block("k2", "bob")) // refused only because of what is not certain yet
		look := make(chan bool, 1)
		go func() {
			if err := d.Look(t.Context(), func(tx *ledger.Tx) error { return nil }); err != nil {
				t.Error(err)
			}
			look <- true
		}()
		synctest.Wait()
		if blocks.answered() || again.answered() || len(look) > 0 {
			t.Fatal("answered while the append was under way")
		}
		close(gate)
		if got := blocks.got(); got.Event.Position != 1 || got.Replayed {
			t.Errorf("got %+v", got)
		}
		again.refused(errBlocked)
		<-look
	})
}

func TestWhatWasDecidedOnTopOfABeatenAppendIsDecidedAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		first := d.ask(block("k1", "bob"))
		second := d.ask(block("k2", "bob")) // would be refused, had the first one happened
		d.log.otherWrites(t, "k1", events.UserUnblocked{User: "ann", Blocked: "cid"})
		close(gate)
		if got := first.got(); !got.Replayed || got.Event.Data.Type() != "user.unblocked" {
			t.Errorf("the key was used by the other writer, and the answer is %+v", got)
		}
		if got := second.got(); got.Replayed || got.Event.Position != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestALostAcknowledgementIsNoReplay(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		lost := errors.New("the answer got lost")
		d.log.after = func(n int) error {
			if n <= 2 {
				return lost
			}
			return nil
		}
		d.open()
		a := d.ask(block("k1", "bob"))
		if got := a.got(); got.Replayed || got.Event.Position != 1 {
			t.Errorf("got %+v", got)
		}
		if d.log.keys() != "k1" {
			t.Errorf("the log has %s", d.log.keys())
		}
	})
}

func TestAnUnknownOutcomeIsTriedAgainAtTheSamePlace(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		unknown := errors.New("nobody knows")
		d.log.before = func(n int) error {
			if n <= 3 {
				return unknown
			}
			return nil
		}
		d.open()
		first := d.begin(block("k1", "bob"))
		synctest.Wait()
		d.clock = morning.Add(time.Hour)
		refused := d.ask(block("k2", "bob"))
		if first.answered() || refused.answered() {
			t.Fatal("answered while the outcome was unknown")
		}
		first.got()
		refused.refused(errBlocked)
		tries := d.log.tries()
		for i, records := range tries {
			if keysOf(records) != "k1" || string(records[0].Body) != string(tries[0][0].Body) {
				t.Errorf("try %d is %s, not the same again", i+1, keysOf(records))
			}
		}
		if len(tries) != 4 {
			t.Errorf("%d tries", len(tries))
		}
	})
}

func TestTheFirstOfAnAppendMayBeInAndTheRestBeaten(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = func(n int) error {
			if n == 1 {
				return gate.pass(n)
			}
			if n == 2 { // of three: the first one is in, and then somebody else was faster
				if err := d.log.append(1, d.log.tries()[1][:1]); err != nil {
					t.Error(err)
				}
				d.log.otherWrites(t, "other", events.UserBlocked{User: "ann", Blocked: "dan"})
				return fmt.Errorf("the first one is in: %w", events.ErrBeaten)
			}
			return nil
		}
		d.open()
		d.ask(block("k1", "abe"))
		in, beaten, refused := d.ask(block("k2", "bob")), d.ask(block("k3", "cid")), d.ask(block("k4", "dan"))
		close(gate)
		if got := in.got(); got.Event.Position != 2 || got.Replayed {
			t.Errorf("the one that was in: %+v", got)
		}
		if got := beaten.got(); got.Event.Position != 4 || got.Replayed {
			t.Errorf("the one that was beaten: %+v", got)
		}
		refused.refused(errBlocked)
		if d.log.keys() != "k1 k2 other k3" {
			t.Errorf("the log has %s", d.log.keys())
		}
	})
}

func TestManyWhoWaitGoInOneAppend(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		var all []*asking
		for i := range 1500 {
			all = append(all, d.begin(block(fmt.Sprint("k", i), fmt.Sprint("u", i))))
			if i == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		close(gate)
		for _, a := range all {
			a.got()
		}
		var sizes []int
		for _, records := range d.log.tries() {
			sizes = append(sizes, len(records))
		}
		if len(sizes) > 5 || slices.Max(sizes) > events.BatchMax {
			t.Errorf("appends of %v", sizes)
		}
	})
}

func TestAnAppendIsBoundedInBytesToo(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		long := string(make([]byte, 40<<10)) // as JSON six times that
		var all []*asking
		for i := range 200 {
			all = append(all, d.begin(Command{Key: fmt.Sprint("k", i), Actor: events.System,
				Decide: func(*ledger.Tx) (events.Payload, []events.Move, error) {
					return events.StripeEventNoted{StripeEvent: "evt", Why: long}, nil, nil
				}}))
		}
		synctest.Wait()
		close(gate)
		for _, a := range all {
			a.got()
		}
		for _, records := range d.log.tries() {
			bytes := 0
			for _, r := range records {
				bytes += len(r.Body)
			}
			if bytes > batchBytesMax+events.BodyMax {
				t.Errorf("an append of %d bytes", bytes)
			}
		}
	})
}

func TestWhatAnotherWriterStoredIsNotMixedWithWhatIsKnown(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		d.ask(block("k1", "bob")).got()
		// Another writer goes on. Its second event is stored already, and touches a document
		// that this writer does not have yet; the first one touches one that it has.
		other := []events.Record{
			d.log.otherWrites(t, "o1", events.UserUnblocked{User: "ann", Blocked: "bob"}),
			d.log.otherWrites(t, "o2", events.UserBlocked{User: "bob", Blocked: "ann"}),
		}
		if err := d.shelf.fold(d.log.records[0], other[0], other[1]); err != nil {
			t.Fatal(err)
		}
		refused := errors.New("refused")
		a := d.ask(Command{Key: "k2", Actor: events.System, Decide: func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
			ann, bob := ledger.Load(tx, ledger.Blocks, "ann"), ledger.Load(tx, ledger.Blocks, "bob")
			if ann.Has("bob") && bob.Has("ann") {
				return nil, nil, errors.New("this has never been so")
			}
			if bob.Has("ann") {
				return nil, nil, refused
			}
			return nil, nil, errors.New("this is too old")
		}})
		a.refused(refused)
		if d.Last() != 3 {
			t.Errorf("last is %d", d.Last())
		}
	})
}

func TestWhatAnotherWriterWroteIsNoticedWithoutAnAppend(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		d.ask(block("k1", "bob")).got()
		other := d.log.otherWrites(t, "o1", events.UserUnblocked{User: "ann", Blocked: "bob"})
		d.shelf.store(t, d.log.records[0], other)
		if got := d.ask(block("k2", "bob")).got(); got.Event.Position != 3 {
			t.Errorf("got %+v", got)
		}
		if tries := d.log.tries(); len(tries) != 2 {
			t.Errorf("%d appends, one of them for nothing", len(tries))
		}
	})
}

func TestAStartReadsWhatTheStoreLacks(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for i := range 2500 {
			d.log.otherWrites(t, fmt.Sprint("o", i), events.UserBlocked{User: "ann", Blocked: fmt.Sprint("u", i)})
		}
		d.shelf.store(t, d.log.records[:700]...)
		d.open()
		d.ask(block("k1", "u699")).refused(errBlocked)
		d.ask(block("k2", "u2499")).refused(errBlocked)
		if got := d.ask(block("o3", "bob")).got(); !got.Replayed || got.Event.Position != 4 {
			t.Errorf("got %+v", got)
		}
		if got := d.ask(block("k3", "bob")).got(); got.Event.Position != 2501 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestALogThatCannotBeReadEndsTheWriter(t *testing.T) {
	for _, broken := range []error{events.ErrGap, events.ErrUnreadable} {
		atDesk(t, func(t *testing.T, d *desk) {
			waits := d.ask(block("k1", "bob"))
			d.Writer.log = unreadable{d.log, broken}
			if err := d.Run(t.Context(), t.Context()); !errors.Is(err, broken) {
				t.Errorf("the writer ended with %v", err)
			}
			waits.refused(ErrStopping)
			d.ask(block("k1", "bob")).refused(ErrStopping)
		})
	}
}

func TestALogThatTakesNothingAnyMoreEndsTheWriter(t *testing.T) {
	for _, broken := range []error{events.ErrBroken, events.ErrShort} {
		atDesk(t, func(t *testing.T, d *desk) {
			waits := d.ask(block("k1", "bob"))
			d.log.before = func(int) error { return fmt.Errorf("append: %w", broken) }
			if err := d.Run(t.Context(), t.Context()); !errors.Is(err, broken) {
				t.Errorf("the writer ended with %v", err)
			}
			waits.refused(ErrStopping)
			if !strings.Contains(waits.err.Error(), "may be done") {
				t.Errorf("nobody knows whether it is in the log, and it is answered with %v", waits.err)
			}
		})
	}
}

// unreadable is a log that lacks an event, or has one that is none.
type unreadable struct {
	Log
	why error
}

func (l unreadable) ReadRange(context.Context, uint64, int) ([]events.Record, error) {
	return nil, fmt.Errorf("read on: %w", l.why)
}

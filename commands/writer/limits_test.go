package writer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/ledger"
)

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.Writer = d.newWriter(Limits{Queue: 3, Lag: 100, Documents: 100})
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		a, b, c := d.ask(block("a", "a")), d.ask(block("b", "b")), d.ask(block("c", "c"))
		d.ask(block("d", "d")).refused(ErrOverloaded)
		if d.UnderWay() != 3 {
			t.Errorf("%d are under way", d.UnderWay())
		}
		close(gate)
		a.got()
		b.got()
		c.got()
		d.ask(block("d", "d")).got()
	})
}

func TestCommandsAreRefusedWhileTheStoreIsTooFarBehind(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.Writer = d.newWriter(Limits{Queue: 10, Lag: 3, Documents: 100})
		d.open()
		for i := range 3 {
			d.ask(block(fmt.Sprint("k", i), fmt.Sprint("u", i))).got()
		}
		d.ask(block("k3", "u3")).refused(ErrOverloaded)
		d.shelf.store(t, d.log.records...)
		d.ask(block("k3", "u3")).got()
	})
}

func TestAWriterThatNeverRunsKeepsNobodyWaiting(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		waits := d.ask(block("k1", "bob"))
		synctest.Wait()
		d.SendAway()
		waits.refused(ErrStopping)
		d.ask(block("k2", "bob")).refused(ErrStopping)
	})
}

func TestAStartWaitsForAStoreThatIsTooFarBehind(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for i := range 10 {
			d.log.otherWrites(t, fmt.Sprint("o", i), events.UserBlocked{User: "ann", Blocked: fmt.Sprint("u", i)})
		}
		d.Writer = d.newWriter(Limits{Queue: 10, Lag: 4, Documents: 100})
		d.open()
		d.ask(block("k", "bob")).refused(ErrOverloaded)
		d.shelf.store(t, d.log.records[:5]...)
		time.Sleep(time.Second)
		d.ask(block("k", "bob")).refused(ErrOverloaded)
		d.shelf.store(t, d.log.records[5:7]...)
		time.Sleep(time.Second)
		if got := d.ask(block("k", "bob")).got(); got.Event.Position != 11 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWhatComesBeforeTheWriterRunsWaitsForIt(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		a := d.ask(block("k", "bob"))
		if a.answered() {
			t.Fatal("answered by nobody")
		}
		d.open()
		a.got()
	})
}

func TestAStopAnswersThoseWhoWait(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx, t.Context()) }()
		a, b := d.ask(block("a", "bob")), d.ask(block("b", "cid"))
		stop()
		synctest.Wait()
		d.ask(block("c", "dan")).refused(ErrStopping)
		close(gate)
		a.got()
		b.got()
		if err := <-ended; err != nil {
			t.Errorf("the writer ended with %v", err)
		}
		d.ask(block("c", "dan")).refused(ErrStopping)
	})
}

func TestWhoComesWhileALoneCallersEventIsAppendedIsDecidedNext(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = func(n int) error {
			if n == 2 {
				return gate.pass(n)
			}
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx, t.Context()) }()
		d.ask(block("k1", "abe")).got()
		lone, next, refused := d.ask(block("k2", "bob")), d.ask(block("k3", "cid")), d.ask(block("k4", "bob"))
		stop()
		synctest.Wait()
		d.ask(block("k5", "dan")).refused(ErrStopping)
		if lone.answered() || next.answered() || refused.answered() {
			t.Fatal("answered while the append was under way")
		}
		close(gate)
		lone.got()
		next.got()
		refused.refused(errBlocked)
		if err := <-ended; err != nil {
			t.Errorf("the writer ended with %v", err)
		}
	})
}

func TestAStopDoesNotWaitForEverForALogThatHangs(t *testing.T) {
	for name, hang := range map[string]func(*desk, <-chan struct{}){
		"while it appends": func(d *desk, over <-chan struct{}) {
			d.log.before = func(int) error { <-over; return errors.New("too late") }
		},
		"while it reads again": func(d *desk, _ <-chan struct{}) {
			d.log.before = func(int) error { return events.ErrBeaten }
			d.Writer.log = deaf{d.Writer.log, d.Writer}
		},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				over := make(chan struct{})
				defer close(over)
				hang(d, over)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.Run(ctx, t.Context()) }()
				synctest.Wait()
				a := d.ask(block("a", "bob"))
				stop()
				select {
				case err := <-ended:
					if err == nil {
						t.Error("the writer says that all were answered")
					}
				case <-time.After(time.Minute):
					t.Fatal("the writer does not stop")
				}
				a.refused(ErrStopping)
			})
		})
	}
}

// deaf is a log that cannot be read once the writer has begun.
type deaf struct {
	Log
	w *Writer
}

func (l deaf) ReadRange(ctx context.Context, after uint64, max int) ([]events.Record, error) {
	if l.w.UnderWay() > 0 {
		return nil, errors.New("the log does not answer")
	}
	return l.Log.ReadRange(ctx, after, max)
}

func TestWhoHasLeftIsNotDecidedAnyMore(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gone := d.ask(block("k", "bob"))
		joins := d.ask(joining(block("k", "cid")))
		gone.leave()
		synctest.Wait()
		d.open()
		gone.refused(context.Canceled)
		if got := joins.got(); got.Replayed || got.Event.Data.(events.UserBlocked).Blocked != "cid" {
			t.Errorf("got %+v", got)
		}
		if d.UnderWay() != 0 {
			t.Errorf("%d are under way", d.UnderWay())
		}
	})
}

func TestWhoLeavesTooLateFindsTheirEvent(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		gone := d.ask(block("k", "bob"))
		gone.leave()
		gone.refused(context.Canceled)
		d.ask(block("k", "bob")).refused(ErrKeyBusy)
		close(gate)
		synctest.Wait()
		if got := d.ask(block("k", "bob")).got(); !got.Replayed {
			t.Errorf("got %+v", got)
		}
	})
}

func TestALookThatHasReturnedIsNotRunAnyMore(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		ctx, leave := context.WithCancel(t.Context())
		seen := 0 // not guarded: the race detector watches
		ended := make(chan error, 1)
		go func() {
			ended <- d.Look(ctx, func(*ledger.Tx) error { seen++; return nil })
		}()
		synctest.Wait()
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		d.open()
		if seen != 0 {
			t.Errorf("it ran %d times after its caller had left", seen)
		}
	})
}

func TestAPanicIsItsCallersAlone(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		bad := d.ask(Command{Key: "k1", Actor: events.System, Decide: func(*ledger.Tx) (events.Payload, []events.Move, error) {
			panic("a mistake")
		}})
		<-bad.ended
		err := d.Look(t.Context(), func(*ledger.Tx) error { panic("a mistake") })
		none := d.ask(Command{Key: "k2"})
		<-none.ended
		empty := d.ask(Command{Key: "k3", Actor: events.System, Decide: func(*ledger.Tx) (events.Payload, []events.Move, error) {
			return nil, nil, nil
		}})
		<-empty.ended
		for _, err := range []error{bad.err, err, none.err, empty.err} {
			if err == nil {
				t.Error("a mistake was taken for an answer")
			}
		}
		if got := d.ask(block("k1", "bob")).got(); got.Event.Position != 1 {
			t.Errorf("got %+v", got)
		}
		if !strings.Contains(d.said.String(), "a mistake") {
			t.Error("nobody was told of the mistake")
		}
	})
}

func TestAnEventThatNoFoldCanTakeNeverHappens(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		folds := append(ledger.Folds(), events.Fold[int]{
			Name: "strict",
			Keys: func(events.Event) []string { return []string{"all"} },
			Evolve: func(n int, _ string, e events.Event) (int, bool) {
				if e.Key == "poison" {
					panic("a mistake")
				}
				return n + 1, true
			},
		}.Folding())
		d.memory = newMemory(folds)
		d.open()
		bad := d.ask(block("poison", "bob"))
		<-bad.ended
		if bad.err == nil {
			t.Fatal("it happened")
		}
		d.ask(block("k", "bob")).got() // what was folded of the other is taken back
		if d.log.keys() != "k" {
			t.Errorf("the log has %s", d.log.keys())
		}
	})
}

func TestTimeNeverFalls(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.clock = morning.Add(1234567 * time.Nanosecond)
		d.open()
		first := d.ask(block("k1", "bob")).got()
		if want := morning.Add(time.Millisecond); first.Event.Time != want {
			t.Errorf("at %v, want %v", first.Event.Time, want)
		}
		d.clock = morning.Add(-time.Hour)
		if got := d.ask(block("k2", "cid")).got(); got.Event.Time != first.Event.Time {
			t.Errorf("at %v after %v", got.Event.Time, first.Event.Time)
		}
		d.shelf.store(t, d.log.records...)
		d.Writer = d.newWriter(DefaultLimits)
		d.open()
		if got := d.ask(block("k3", "dan")).got(); got.Event.Time != first.Event.Time {
			t.Errorf("after a new start at %v", got.Event.Time)
		}
	})
}

func TestAnEventTellsWhenItHappenedOutside(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		c := block("k1", "bob")
		c.Effective = morning.Add(-24 * time.Hour).In(time.FixedZone("", 3600))
		got := d.ask(c).got().Event
		if !got.Effective.Equal(c.Effective) || got.Effective.Location() != time.UTC || got.Time != morning {
			t.Errorf("effective %v, decided %v", got.Effective, got.Time)
		}
		if got := d.ask(block("k2", "cid")).got().Event; got.Effective != got.Time {
			t.Errorf("effective %v, decided %v", got.Effective, got.Time)
		}
	})
}

func TestThoseWhoComeBackAtOnceShareAnAppend(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.log.before = func(int) error { time.Sleep(8 * time.Millisecond); return nil }
		d.open()
		const callers, times = 64, 20
		for i := range callers {
			go func() {
				for n := range times {
					_, err := d.Do(t.Context(), block(fmt.Sprint("k", i, "/", n), fmt.Sprint("u", i, "/", n)))
					if err != nil {
						t.Error(err)
					}
				}
			}()
		}
		time.Sleep(time.Minute)
		if tries := len(d.log.tries()); tries > times+5 { // not two halves that take turns
			t.Errorf("%d appends for %d times %d commands", tries, times, callers)
		}
		if d.Last() != callers*times {
			t.Errorf("the log ends at %d", d.Last())
		}
	})
}

func TestNobodyWaitsLongForThoseWhoDoNotComeBack(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		first := make(gate)
		d.log.before = func(n int) error {
			if n == 2 {
				return first.pass(n)
			}
			return nil
		}
		d.open()
		var all []*asking
		for i := range 100 { // one goes alone, and the others together
			all = append(all, d.ask(block(fmt.Sprint("k", i), fmt.Sprint("u", i))))
		}
		last := d.begin(block("last", "bob"))
		begun := time.Now()
		time.Sleep(time.Second)
		close(first)
		for _, a := range all {
			a.got()
		}
		last.got()
		if waited := time.Since(begun) - time.Second; waited > patienceMax {
			t.Errorf("it waited for %v", waited)
		}
	})
}

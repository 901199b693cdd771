package writer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// askAll has somebody ask for many things at once, and returns when all that can happen
// has happened. What it gives waits for the outcomes.
func (d *desk) askAll(all ...Command) func() ([]Outcome, error) {
	var outcomes []Outcome
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		outcomes, err = d.DoAll(d.t.Context(), all)
	}()
	synctest.Wait()
	return func() ([]Outcome, error) { <-ended; return outcomes, err }
}

func TestOfManyCommandsEachComesToWhatItWouldAlone(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		old := d.ask(with("old", block("old", "u0")))
		outcomes := d.askAll(block("a", "ann"), with("new", block("old", "u1")), block("b", "ann"), block("c", "cid"))
		close(gate)
		old.got()
		got, err := outcomes()
		if err != nil {
			t.Fatal(err)
		}
		again := d.askAll(block("a", "ann"), with("new", block("old", "u1")), block("d", "dan"))
		for i, want := range []error{nil, ErrKeyBusy, errBlocked, nil} {
			if !errors.Is(got[i].Err, want) || want == nil && got[i].Event.Position == 0 {
				t.Errorf("command %d came to %+v, %v; want %v", i, got[i].Event, got[i].Err, want)
			}
		}
		replayed, err := again()
		if err != nil || !replayed[0].Replayed || replayed[0].Event.Position != got[0].Event.Position {
			t.Errorf("again it came to %+v, %v", replayed[0], err)
		}
		if !errors.Is(replayed[1].Err, ErrKeyReused) || replayed[2].Err != nil || replayed[2].Replayed {
			t.Errorf("the others came to %v and %+v", replayed[1].Err, replayed[2])
		}
	})
}

// What came to nobody's knowledge is not told as done.
func TestWhoLeavesManyCommandsIsToldOfEachThatNobodyKnows(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		d.ask(block("other", "bob"))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		got, err := d.DoAll(ctx, []Command{block("a", "cid"), block("b", "dan")})
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range got {
			if !errors.Is(o.Err, context.DeadlineExceeded) || o.Event.Data != nil {
				t.Errorf("command %d came to %+v", i, o)
			}
		}
		close(gate)
	})
}

func TestManyCommandsAreRefusedByAWriterThatStops(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		stop := running(t, d.Writer)
		synctest.Wait()
		stop()
		if got, err := d.DoAll(t.Context(), []Command{block("a", "bob")}); !errors.Is(err, ErrStopping) {
			t.Errorf("it is answered with %+v and %v", got, err)
		}
	})
}

func TestManyCommandsThatHaveNoRoomTogetherAreRefusedTogether(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.Writer = d.newWriter(Limits{Queue: 4, Lag: 100, Documents: 100})
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		var four []Command
		for i := range 4 {
			four = append(four, block(fmt.Sprint("k", i), fmt.Sprint("u", i)))
		}
		other := d.ask(block("other", "bob"))
		if _, err := d.askAll(four...)(); !errors.Is(err, ErrOverloaded) {
			t.Errorf("four for three places: %v", err)
		}
		if n := d.UnderWay(); n != 1 {
			t.Errorf("%d are under way, and none of the four should be", n)
		}
		three := d.askAll(four[:3]...)
		close(gate)
		other.got()
		if got, err := three(); err != nil || got[0].Err != nil || got[1].Err != nil || got[2].Err != nil {
			t.Errorf("three for three places: %+v, %v", got, err)
		}
	})
}

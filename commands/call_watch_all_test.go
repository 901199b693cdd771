package commands

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"truebond/ledger"
)

// pagedCalls are views that show so many calls at a time as they are asked for.
type pagedCalls struct{ calls []ledger.Call }

func (v *pagedCalls) Active(_ context.Context, after uint64, max int) ([]ledger.Call, error) {
	rest := v.calls[min(int(after), len(v.calls)):]
	return rest[:min(max, len(rest))], nil
}

func (v *pagedCalls) begin(n int) {
	for range n {
		position := uint64(len(v.calls) + 1)
		v.calls = append(v.calls, ledger.Call{ID: fmt.Sprint("c", position), Position: position, From: "ann", To: "bob"})
	}
}

func watched(t *testing.T, signs Presence, calls int, test func(view *pagedCalls, did *diary, look func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		view, did := &pagedCalls{}, newDiary()
		view.begin(calls)
		w := NewWatch(NewService(Parts{Writer: did, Presence: signs, Clock: WallClock(time.Now())}), view,
			slog.New(slog.DiscardHandler))
		test(view, did, func() {
			t.Helper()
			if err := w.look(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// A call that nobody watches is charged for as long as its caller can pay.
func TestEachCallIsWatchedHoweverManyGoOn(t *testing.T) {
	for _, n := range []int{activePage, activePage + 1, 2*activePage + 1} {
		watched(t, unheard{}, n, func(_ *pagedCalls, did *diary, look func()) {
			look()
			time.Sleep(goneAfter + gonePause)
			look()
			if len(did.noted) != n {
				t.Errorf("of %d calls whose parties are gone, %d were ended", n, len(did.noted))
			}
		})
	}
}

func TestNobodyIsGoneBeforeTheServerCouldHearOfThem(t *testing.T) {
	begun := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble's time
	hourAgo := begun.Add(-time.Hour)                     // a Redis has outlived the server
	watched(t, heard{"ann": hourAgo, "bob": hourAgo}, 1, func(_ *pagedCalls, did *diary, look func()) {
		time.Sleep(goneAfter)
		if look(); len(did.noted) != 0 {
			t.Errorf("%s after its start, the server has ended %v", goneAfter, did.noted)
		}
		time.Sleep(time.Millisecond)
		if look(); len(did.noted) != 1 {
			t.Errorf("later it has ended %v", did.noted)
		}
	})
	watched(t, unheard{}, 0, func(view *pagedCalls, did *diary, look func()) {
		time.Sleep(time.Hour)
		view.begin(1)
		if look(); len(did.noted) != 0 {
			t.Errorf("a call that has just begun was ended: %v", did.noted)
		}
	})
}

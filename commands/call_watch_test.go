package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

// heard is a Redis in which signs of life stand, by users.
type heard map[string]time.Time

func (heard) Seen(context.Context, string, time.Time, ...string) error { return nil }

func (h heard) LastSeen(_ context.Context, _, user string) (time.Time, error) { return h[user], nil }

// Signs of life from before are from the future then. As long as nobody notices, the caller pays for each minute.
func TestAPartyIsGoneAlthoughTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		did, signs := newDiary(), heard{}
		view := &pagedCalls{[]ledger.Call{{ID: "c", From: "ann", To: "bob"}}}
		w := NewWatch(NewService(Parts{Writer: did, Presence: signs, Clock: WallClock(time.Now())}), view,
			slog.New(slog.DiscardHandler))
		live := func(length, wall time.Duration, there ...string) {
			t.Helper()
			for left := length; left > 0; left -= gonePause {
				for _, user := range there {
					signs[user] = time.Now().Add(wall).Round(0)
				}
				if err := w.look(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(gonePause)
			}
		}
		live(time.Minute, time.Hour, "ann", "bob")
		live(goneAfter, 0)
		live(time.Minute, 0, "ann") // who is heard of in the last moment
		if at := did.noted["call/c/gone/bob"]; len(did.noted) != 1 || len(at) != 1 {
			t.Errorf("bob is gone, and it is noted that %v are", did.noted)
		}
	})
}

func TestACallThatTheViewsHaveAsActiveStillIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := &pagedCalls{}
		did := newDiary()
		key := func(call string) string { return "call/" + call + "/gone/ann" }
		for _, call := range []string{"ended", "over", "stuck"} {
			view.calls = append(view.calls, ledger.Call{ID: call, From: "ann", To: "bob"})
		}
		did.refuses[key("over")] = ledger.Refuse(ledger.CodeCallOver, "The call is over.")
		did.refuses[key("stuck")] = errors.New("a decision panicked")
		s := NewService(Parts{Writer: did, Presence: heard{}, Clock: WallClock(time.Now())})
		var said bytes.Buffer
		w := NewWatch(s, view, slog.New(slog.NewTextHandler(&said, nil)))
		looks := func(lines int, told string) {
			t.Helper()
			said.Reset()
			for range 10 {
				if err := w.look(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(gonePause)
			}
			if got := said.String(); strings.Count(got, "\n") != lines || !strings.Contains(got, told) {
				t.Errorf("it is told, not in %d lines with %q:\n%s", lines, told, got)
			}
		}
		looks(0, "") // both may only be late
		time.Sleep(goneAfter)
		looks(2, "call=ended")
		looks(0, "")
		for call, want := range map[string]int{"ended": 1, "over": 1, "stuck": 20} {
			if n := len(did.noted[key(call)]); n != want {
				t.Errorf("%s is to be ended %d times, and was %d times", call, want, n)
			}
		}

		did.refuses[key("stuck")] = errors.New("something else")
		looks(1, "something else")
		delete(did.refuses, key("stuck"))
		looks(1, "call=stuck")

		view.calls = nil
		looks(0, "")
		if len(w.gone) != 0 {
			t.Errorf("remembered is %v", w.gone)
		}
	})
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
		watched(t, heard{}, n, func(_ *pagedCalls, did *diary, look func()) {
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
	watched(t, heard{}, 0, func(view *pagedCalls, did *diary, look func()) {
		time.Sleep(time.Hour)
		view.begin(1)
		if look(); len(did.noted) != 0 {
			t.Errorf("a call that has just begun was ended: %v", did.noted)
		}
	})
}

// unsteady is a Redis that does not answer one of five.
type unsteady struct {
	heard
	asked int
}

func (u *unsteady) LastSeen(ctx context.Context, call, user string) (time.Time, error) {
	if u.asked++; u.asked%5 == 0 {
		return time.Time{}, errors.New("it is away")
	}
	return u.heard.LastSeen(ctx, call, user)
}

func TestAPartyIsGoneAlthoughRedisFailsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Now().Add(time.Hour) // by the clock that they were noted by
		did, signs := newDiary(), &unsteady{heard: heard{"ann": ahead, "bob": ahead}}
		view := &pagedCalls{[]ledger.Call{{ID: "c", From: "ann", To: "bob"}}}
		w := NewWatch(NewService(Parts{Writer: did, Presence: signs, Clock: WallClock(time.Now())}), view,
			slog.New(slog.DiscardHandler))
		failed := 0
		for range 30 {
			if w.look(t.Context()) != nil {
				failed++
			}
			time.Sleep(gonePause)
		}
		if failed == 0 || len(did.noted) != 1 {
			t.Errorf("%d looks failed, and it is noted that %v are gone", failed, did.noted)
		}
	})
}

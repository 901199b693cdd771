package commands

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"truebond/ledger"
)

// standingCalls are views that stand still: calls that have ended are active in them.
type standingCalls struct{ calls []ledger.Call }

func (v *standingCalls) Active(context.Context, uint64, int) ([]ledger.Call, error) {
	return v.calls, nil
}

// unheard is a Redis in which nobody has given a sign of life.
type unheard struct{}

func (unheard) Seen(context.Context, string, time.Time, ...string) error { return nil }

func (unheard) LastSeen(context.Context, string, string) (time.Time, error) { return time.Time{}, nil }

// heard is a Redis in which signs of life stand, by users.
type heard map[string]time.Time

func (heard) Seen(context.Context, string, time.Time, ...string) error { return nil }

func (h heard) LastSeen(_ context.Context, _, user string) (time.Time, error) { return h[user], nil }

// Signs of life from before are from the future then. As long as nobody notices, the caller pays for each minute.
func TestAPartyIsGoneAlthoughTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		did, signs := newDiary(), heard{}
		view := &standingCalls{[]ledger.Call{{ID: "c", From: "ann", To: "bob"}}}
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
		view := &standingCalls{}
		did := newDiary()
		key := func(call string) string { return "call/" + call + "/gone/ann" }
		for _, call := range []string{"ended", "over", "stuck"} {
			view.calls = append(view.calls, ledger.Call{ID: call, From: "ann", To: "bob"})
		}
		did.refuses[key("over")] = ledger.Refuse(ledger.CodeCallOver, "The call is over.")
		did.refuses[key("stuck")] = errors.New("a decision panicked")
		s := NewService(Parts{Writer: did, Presence: unheard{}, Clock: WallClock(time.Now())})
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

package commands

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// standing are views that stand still: what was done stays due, and nobody sees it.
type standing struct{ timers []DueTimer } // in the order of their places

func (v standing) DueUntil(_ context.Context, until time.Time, after DueTimer, max int) ([]DueTimer, error) {
	begin := 0
	if after.ID != "" {
		begin = slices.Index(v.timers, after) + 1
	}
	due := v.timers[begin:]
	if at := slices.IndexFunc(due, func(t DueTimer) bool { return t.DueAt().After(until) }); at >= 0 {
		due = due[:at]
	}
	return slices.Clone(due[:min(len(due), max)]), nil
}

func (standing) Wait(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// A diary is a writer that takes everything and notes when.
type diary struct {
	writer.Decider

	over map[string]bool // keys of what it refuses: somebody has hung up meanwhile

	mu    sync.Mutex
	noted map[string][]time.Time
}

func (d *diary) Do(_ context.Context, c writer.Command) (writer.Done, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted[c.Key] = append(d.noted[c.Key], time.Now())
	if d.over[c.Key] {
		return writer.Done{}, ledger.Refuse(ledger.CodeCallOver, "The call is over.")
	}
	return writer.Done{Event: events.Event{Position: 1}}, nil
}

func (d *diary) Last() uint64 { return 1 }

// callMinute is a call's second minute.
func callMinute(due time.Time) DueTimer {
	call := newID("call")
	return DueTimer{ID: "call/" + call,
		Timer: ledger.Timer{Kind: ledger.MinuteBegins, Call: call, Interval: 2, Due: due.UnixMilli()}}
}

// A call's minute that is charged more than 15 seconds late ends the call.
func TestWhatIsDueIsDoneOnceAndInTimeWhileTheViewsStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const together = 50 // are due at the same time
		var view standing
		begun := time.Now()
		for i := range 3*timersPageMax + 1 {
			at := begun.Add(time.Duration(i/together) * 500 * time.Millisecond)
			view.timers = append(view.timers, callMinute(at))
		}
		did := &diary{over: map[string]bool{}, noted: map[string][]time.Time{}}
		for _, timer := range view.timers[:timersAtOnceMax] {
			did.over["call/"+timer.Call+"/2"] = true
		}
		s := NewService(Parts{Writer: did, Clock: WallClock(begun)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := NewTimers(s, view, slog.New(slog.DiscardHandler)).Run(ctx); err != nil {
			t.Fatal(err)
		}
		for i, timer := range view.timers {
			switch at := did.noted["call/"+timer.Call+"/2"]; {
			case len(at) != 1:
				t.Fatalf("the %dth was done %d times", i+1, len(at))
			case at[0].Sub(timer.DueAt()) > overdueMax/3:
				t.Fatalf("the %dth was done %v late", i+1, at[0].Sub(timer.DueAt()))
			}
		}
	})
}

func TestWhatWasDoneIsRememberedForAsLongAsTheViewsHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		minutes := func(at time.Time) (due []DueTimer) {
			for i := range timersPageMax {
				due = append(due, callMinute(at.Add(time.Duration(i)*time.Millisecond)))
			}
			return due
		}
		early, middle, late := minutes(now), minutes(now.Add(2*time.Second)), minutes(now.Add(4*time.Second))
		view := &standing{}
		s := NewService(Parts{Writer: &diary{noted: map[string][]time.Time{}}, Clock: WallClock(now)})
		timers := NewTimers(s, view, slog.New(slog.DiscardHandler))
		looks := func(found, remembered int, due ...[]DueTimer) {
			t.Helper()
			view.timers = slices.Concat(due...)
			n, err := timers.runDue(t.Context(), now.Add(6*time.Second))
			if err != nil || n != found || len(timers.done) != remembered {
				t.Fatalf("it finds %d and remembers %d (%v), not %d and %d", n, len(timers.done), err, found, remembered)
			}
		}
		for done := timersAtOnceMax; done <= timersPageMax; done += timersAtOnceMax {
			looks(timersAtOnceMax, done, middle)
		}
		looks(0, timersPageMax, middle)
		looks(timersAtOnceMax, timersPageMax+timersAtOnceMax, early, middle) // more than it comes to the end of
		looks(timersAtOnceMax, timersPageMax+timersAtOnceMax, middle, late)
		looks(0, 0)
	})
}

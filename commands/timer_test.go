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
type standing struct{ timers []ledger.Timer }

func (v standing) DueUntil(_ context.Context, until time.Time, max int) ([]ledger.Timer, error) {
	at := slices.IndexFunc(v.timers, func(t ledger.Timer) bool { return t.DueAt().After(until) })
	if at < 0 {
		at = len(v.timers)
	}
	return slices.Clone(v.timers[:min(at, max)]), nil
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

// A call's minute that is charged more than 15 seconds late ends the call.
func TestWhatIsDueIsDoneOnceAndInTimeWhileTheViewsStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var view standing
		begun := time.Now()
		for i := range 2*timersAtOnceMax + 1 {
			view.timers = append(view.timers, ledger.Timer{Kind: ledger.MinuteBegins, Call: newID("call"), Interval: 2,
				Due: begun.Add(time.Duration(i) * 100 * time.Millisecond).UnixMilli()})
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

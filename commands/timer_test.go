package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// timelyMax is how late a timer may be: one of a call's minute ends the call when it is three times as late.
const timelyMax = 5 * time.Second

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

	mu      sync.Mutex
	refuses map[string]error // by keys
	makes   map[string]events.Payload
	noted   map[string][]time.Time
}

func newDiary() *diary {
	return &diary{refuses: map[string]error{}, makes: map[string]events.Payload{}, noted: map[string][]time.Time{}}
}

func (d *diary) Do(_ context.Context, c writer.Command) (writer.Done, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted[c.Key] = append(d.noted[c.Key], time.Now())
	return writer.Done{Event: events.Event{Position: 1, Data: d.makes[c.Key]}}, d.refuses[c.Key]
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
		did := newDiary()
		for _, timer := range view.timers[:timersAtOnceMax] { // somebody has hung up meanwhile
			did.refuses["call/"+timer.Call+"/2"] = ledger.Refuse(ledger.CodeCallOver, "The call is over.")
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
			case at[0].Sub(timer.DueAt()) > timelyMax:
				t.Fatalf("the %dth was done %v late", i+1, at[0].Sub(timer.DueAt()))
			}
		}
	})
}

// The views show the minute that was due when they came to a stand; calls go on, and so does what they cost.
func TestACallIsChargedMinuteByMinuteWhileTheViewsStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minutes = 5
		begun := time.Now()
		view := standing{timers: []DueTimer{callMinute(begun)}}
		timer := &view.timers[0]
		timer.Started = begun.Add(-2 * time.Minute).UnixMilli()
		key := func(n int) string { return fmt.Sprintf("call/%s/%d", timer.Call, n) }
		did := newDiary()
		for n := 2; n < 2+minutes; n++ {
			did.makes[key(n)] = events.CallCharged{Call: timer.Call, Interval: n}
		}
		did.makes[key(2+minutes)] = events.CallEnded{Call: timer.Call, Reason: events.OutOfCredits}
		s := NewService(Parts{Writer: did, Clock: WallClock(begun)})
		ctx, cancel := context.WithTimeout(t.Context(), 2*minutes*time.Minute)
		defer cancel()
		if err := NewTimers(s, view, slog.New(slog.DiscardHandler)).Run(ctx); err != nil {
			t.Fatal(err)
		}
		for n := 2; n <= 2+minutes; n++ {
			due := begun.Add(time.Duration(n-2) * time.Minute)
			if at := did.noted[key(n)]; len(at) != 1 || at[0].Before(due) || at[0].Sub(due) > timelyMax {
				t.Errorf("minute %d, due at %v, was charged at %v", n, due, at)
			}
		}
		if len(did.noted) != minutes+1 {
			t.Errorf("it is charged for %v", slices.Sorted(maps.Keys(did.noted)))
		}
	})
}

func TestWhatIsRefusedAgainAndAgainHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stuck = timersAtOnceMax + 100
		begun := time.Now()
		did := newDiary()
		var view standing
		for i := range stuck {
			timer := callMinute(begun)
			if i%2 == 0 {
				timer = DueTimer{ID: "of a newer program " + timer.Call, Timer: ledger.Timer{Kind: "new", Due: timer.Due}}
			}
			view.timers = append(view.timers, timer)
			did.refuses["call/"+timer.Call+"/2"] = errors.New("a decision panicked")
		}
		behind := callMinute(begun.Add(time.Minute))
		view.timers = append(view.timers, behind)
		s := NewService(Parts{Writer: did, Clock: WallClock(begun)})
		var said bytes.Buffer
		timers := NewTimers(s, view, slog.New(slog.NewTextHandler(&said, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { _ = timers.Run(ctx) })

		time.Sleep(15 * time.Minute)
		if at := did.noted["call/"+behind.Call+"/2"]; len(at) != 1 || at[0].Sub(behind.DueAt()) > timelyMax {
			t.Errorf("what was due at %v was done at %v", behind.DueAt(), at)
		}
		one := "call/" + view.timers[1].Call + "/2"
		at := did.noted[one]
		if len(at) < 3 || at[2].Sub(at[0]) > 5*time.Second || len(at) > 300 {
			t.Fatalf("it is tried %d times", len(at))
		}
		for i := range len(at) - 2 {
			if earlier, later := at[i+1].Sub(at[i]), at[i+2].Sub(at[i+1]); later < earlier-time.Second {
				t.Errorf("it is tried again after %v, and then after %v", earlier, later)
			}
		}
		if n := timers.Refused(); n != stuck || !strings.Contains(said.String(), "a decision panicked") {
			t.Errorf("%d are said to be refused: %.300s", n, said.String())
		}

		did.mu.Lock()
		clear(did.refuses) // what was wrong is mended
		did.mu.Unlock()
		time.Sleep(2 * refusedPauseMax)
		if n := timers.Refused(); n != stuck/2 {
			t.Errorf("%d are said to be refused still", n)
		}
		tries := len(did.noted[one])
		time.Sleep(2 * refusedPauseMax)
		if len(did.noted[one]) != tries {
			t.Error("it is tried again although it was done")
		}
		cancel()
		ended.Wait()
		if n := timers.Refused(); n != 0 {
			t.Errorf("%d are said to be refused by a server that does not lead", n)
		}
	})
}

func TestTimersThatCannotBeReadHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const unreadable = 3
		begun := time.Now()
		var view standing
		for range unreadable {
			timer := callMinute(begun)
			timer.Timer, timer.Err = ledger.Timer{Due: timer.Due}, errors.New("no number")
			view.timers = append(view.timers, timer)
		}
		view.timers = append(view.timers, callMinute(begun))
		did := newDiary()
		s := NewService(Parts{Writer: did, Clock: WallClock(begun)})
		var said bytes.Buffer
		timers := NewTimers(s, &view, slog.New(slog.NewTextHandler(&said, nil)))
		for range 2 {
			if _, err := timers.runDue(t.Context(), time.Now()); t.Context().Err() != nil {
				t.Fatal(err)
			} else if err != nil {
				timers.logger.ErrorContext(t.Context(), "what is due could not be done", "error", err)
			}
		}
		if len(did.noted) != 1 || len(did.noted["call/"+view.timers[unreadable].Call+"/2"]) != 1 {
			t.Errorf("done is %v", did.noted)
		}
		if n := timers.Refused(); n != unreadable {
			t.Errorf("%d are said to be refused", n)
		}
		if told := said.String(); strings.Count(told, "no number") != 1 || !strings.Contains(told, view.timers[0].ID) ||
			!strings.Contains(told, "rebuild timers") {
			t.Errorf("it is told %q", told)
		}

		for i := range unreadable { // they are made anew
			view.timers[i].Timer, view.timers[i].Err = callMinute(begun).Timer, nil
		}
		if _, err := timers.runDue(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if n := timers.Refused(); n != 0 || len(did.noted) != 1+unreadable {
			t.Errorf("%d are said to be refused, and done is %v", n, did.noted)
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
		s := NewService(Parts{Writer: newDiary(), Clock: WallClock(now)})
		timers := NewTimers(s, view, slog.New(slog.DiscardHandler))
		looks := func(found, remembered int, due ...[]DueTimer) {
			t.Helper()
			view.timers = slices.Concat(due...)
			n, err := timers.runDue(t.Context(), now.Add(6*time.Second))
			if err != nil || n != found || len(timers.tried) != remembered {
				t.Fatalf("it finds %d and remembers %d (%v), not %d and %d", n, len(timers.tried), err, found, remembered)
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

package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// TimerView is the view of what is due.
type TimerView interface {
	// DueUntil are timers due at or before a time, the earliest first, at most max of those
	// behind another one; all are behind the zero one.
	DueUntil(ctx context.Context, until time.Time, after DueTimer, max int) ([]DueTimer, error)
	// Wait returns once the views are at a position.
	Wait(ctx context.Context, position uint64) error
}

// A DueTimer is a timer as the views have it.
type DueTimer struct {
	ledger.Timer

	ID string // of its document; those that are due at the same time stand in the order of their ids
}

const (
	timersAtOnceMax = 200                    // how many due timers one look takes
	timersPageMax   = 1000                   // that one page of a look shows: those done, too, that the views still have
	timersPagesMax  = 100                    // of one look: each takes some 10 ms, and a minute is late after 15 s
	timersPause     = 200 * time.Millisecond // between two looks
	timersPatience  = time.Second            // with views that do not show what was done
	// overdueMax is how late a call's minute may be charged. Later than that, the server
	// was away, and nobody knows whether the call went on.
	overdueMax = 15 * time.Second
)

// Timers does what is due. What it does has keys that make repeats harmless, so it
// needs no memory of its own: a restart loses nothing.
type Timers struct {
	service *Service
	view    TimerView
	logger  *slog.Logger
	turn    sync.Mutex            // one look at a time, its own or an advancing test clock's
	done    map[ledger.Timer]bool // what is over, and was due in the views at the last look
	moving  sync.Mutex            // one move of the test clock at a time
}

// NewTimers makes what does what is due. It does nothing until Run or Advance.
func NewTimers(s *Service, view TimerView, logger *slog.Logger) *Timers {
	return &Timers{service: s, view: view, logger: logger, done: map[ledger.Timer]bool{}}
}

// Run does what is due until ctx ends.
func (t *Timers) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := t.runDue(ctx, t.service.Clock.Now())
		if err != nil && ctx.Err() == nil {
			t.logger.ErrorContext(ctx, "what is due could not be done", "error", err)
		}
		if err != nil || n < timersAtOnceMax {
			pause(ctx, timersPause)
		}
	}
	return nil
}

// runDue does what is due at a time, and returns when the views show it, or take long. It tells
// how many timers were new to it.
func (t *Timers) runDue(ctx context.Context, now time.Time) (int, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	due, err := t.news(ctx, now)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	done, failed := make([]bool, len(due)), make([]error, len(due))
	var all sync.WaitGroup
	for i, timer := range due {
		all.Go(func() { done[i], failed[i] = t.do(ctx, timer, now) })
	}
	all.Wait()
	for i, timer := range due {
		if done[i] {
			t.done[timer] = true
		}
	}
	if err := errors.Join(failed...); err != nil {
		return len(due), err
	}
	// As a rule what was done stands in the views before the next look. Other calls' minutes do not
	// wait for views that stand still: charged too late, they would end the calls.
	bounded, cancel := context.WithTimeout(ctx, timersPatience)
	defer cancel()
	if err = t.view.Wait(bounded, t.service.Writer.Last()); bounded.Err() != nil {
		err = ctx.Err()
	}
	return len(due), err
}

// news are timers that are due and not done yet. While the views stand still, they come behind all
// those that are done.
func (t *Timers) news(ctx context.Context, now time.Time) ([]ledger.Timer, error) {
	var found []ledger.Timer
	var after DueTimer
	still := map[ledger.Timer]bool{}
	page := min(timersAtOnceMax+len(t.done), timersPageMax)
	for range timersPagesMax {
		due, err := t.view.DueUntil(ctx, now, after, page)
		if err != nil {
			return nil, err
		}
		for _, timer := range due {
			if t.done[timer.Timer] {
				still[timer.Timer] = true
			} else {
				found = append(found, timer.Timer)
			}
		}
		if len(due) < page {
			t.done = still
			return found[:min(len(found), timersAtOnceMax)], nil
		}
		after = due[len(due)-1]
		if len(found) >= timersAtOnceMax {
			break
		}
	}
	// What the look did not come to may be in the views all the same.
	maps.DeleteFunc(t.done, func(timer ledger.Timer, _ bool) bool { return timer.Due < after.Due && !still[timer] })
	return found[:min(len(found), timersAtOnceMax)], nil
}

// do does what one timer is for, and tells whether that is over. That it is not needed any more is no
// error.
func (t *Timers) do(ctx context.Context, due ledger.Timer, now time.Time) (done bool, err error) {
	key, decide, err := t.command(due, now)
	if err != nil {
		return false, err
	}
	_, err = t.service.Writer.Do(ctx, writer.Command{Key: key, Actor: events.System, Joins: true, Decide: decide})
	var refused *ledger.Refusal
	if errors.As(err, &refused) && !passes(err) {
		t.logger.DebugContext(ctx, "a timer was not needed any more", "key", key, "why", refused.Code)
		return isOver(refused.Code), nil
	}
	return err == nil, err
}

// isOver tells a refusal for good: what the timer is for has ended, and the views do not show it yet.
// Such timers, tried again and again, would leave no room for those that came due later.
func isOver(code string) bool {
	return code == ledger.CodeCallOver || code == ledger.CodeHoldNotFound || code == ledger.CodeLotNotFound
}

// passes tells a refusal that is about this moment from one by the rules.
func passes(err error) bool {
	for _, passing := range []error{writer.ErrOverloaded, writer.ErrStopping, writer.ErrNoLeader, ledger.ErrUnavailable} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// command is what a timer asks for, and the key that makes it happen once.
func (t *Timers) command(due ledger.Timer, now time.Time) (key string, decide ledger.Decision, err error) {
	timer := func(name, id string) string { return fmt.Sprintf("timer/%s/%s/%d", name, id, due.Due) }
	switch due.Kind {
	case ledger.RingEnds:
		return timer("ring", due.Call), ledger.MissCall(due.Call), nil
	case ledger.MinuteBegins:
		overdue := now.Sub(due.DueAt()) > overdueMax
		return fmt.Sprintf("call/%s/%d", due.Call, due.Interval), ledger.ChargeCall(due.Call, due.Interval, overdue), nil
	case ledger.HoldExpires:
		return timer("hold", due.User+"/"+due.Hold), ledger.ExpireHold(due.User, due.Hold), nil
	case ledger.LotExpires:
		return timer("lot", due.User+"/"+due.Lot), ledger.ExpireLot(due.User, due.Lot), nil
	}
	return "", nil, fmt.Errorf("nobody knows what to do when a %q is due", due.Kind)
}

// Advance moves the test clock, stopping at each due time until all of it has settled.
func (t *Timers) Advance(ctx context.Context, by time.Duration) (time.Time, error) {
	t.moving.Lock()
	defer t.moving.Unlock()
	clock := t.service.Clock
	target := clock.Now().Add(by)
	var before ledger.Timer
	for same := 0; ; {
		if err := t.view.Wait(ctx, t.service.Writer.Last()); err != nil {
			return clock.Now(), err
		}
		due, err := t.view.DueUntil(ctx, target, DueTimer{}, 1)
		if err != nil {
			return clock.Now(), err
		}
		if len(due) == 0 {
			clock.set(target)
			return clock.Now(), nil
		}
		if same++; due[0].Timer != before {
			before, same = due[0].Timer, 1
		}
		if same > settleTries {
			return clock.Now(), fmt.Errorf("a %s timer is due and does not settle", due[0].Kind)
		}
		clock.set(due[0].DueAt())
		if _, err := t.runDue(ctx, clock.Now()); err != nil {
			return clock.Now(), err
		}
	}
}

// settleTries is how often one timer is tried. Once is enough for most; something else
// may happen to what it is about at the same moment.
const settleTries = 10

// pause ends when ctx does, at the latest.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

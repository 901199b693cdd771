package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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

	ID  string // of its document; those that are due at the same time stand in the order of their ids
	Err error  // what is wrong with a document that cannot be read; of its timer, Due alone is known
}

const (
	timersAtOnceMax = 200                    // how many due timers one look takes
	timersPageMax   = 1000                   // that one page of a look shows: those done, too, that the views still have
	timersPagesMax  = 100                    // of one look: each takes some 10 ms, and a minute is late after 15 s
	timersPause     = 200 * time.Millisecond // between two looks
	timersPatience  = time.Second            // with views that do not show what was done
)

// Timers does what is due. What it does has keys that make repeats harmless, so it
// needs no memory that lasts: a restart loses nothing.
type Timers struct {
	service *Service
	view    TimerView
	logger  *slog.Logger
	turn    sync.Mutex       // one look at a time, its own or an advancing test clock's
	tried   map[string]tried // by their documents: what was tried, and was due in the views at the last look
	refused atomic.Int64     // of those, how many could not be done
	moving  sync.Mutex       // one move of the test clock at a time
}

// NewTimers makes what does what is due. It does nothing until Run or Advance.
func NewTimers(s *Service, view TimerView, logger *slog.Logger) *Timers {
	return &Timers{service: s, view: view, logger: logger, tried: map[string]tried{}}
}

// Run does what is due until ctx ends.
func (t *Timers) Run(ctx context.Context) error {
	defer t.forget()
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

// Refused is how many timers are due and could not be done when they were tried last.
func (t *Timers) Refused() int64 { return t.refused.Load() }

// runDue does what is due at a time, and returns when the views show it, or take long. It tells
// how many timers it tried. An error may be about some of them only.
func (t *Timers) runDue(ctx context.Context, now time.Time) (int, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	defer t.count()
	due, err := t.due(ctx, now)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	next, failed := make([]ledger.Timer, len(due)), make([]error, len(due))
	var all sync.WaitGroup
	for i, one := range due {
		all.Go(func() { next[i], failed[i] = t.do(ctx, one) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return len(due), err
	}
	for i, one := range due {
		t.tried[one.id] = one.after(next[i], failed[i] != nil)
	}
	if err := inShort(failed); err != nil {
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

// do does what one timer is for, and tells which one comes after it: none when what it is for is over.
func (t *Timers) do(ctx context.Context, one tried) (next ledger.Timer, err error) {
	due := one.next
	if one.unreadable != nil {
		return due, fmt.Errorf("timer %s: its document cannot be read (`truebond rebuild timers` makes it anew): %w",
			one.id, one.unreadable)
	}
	key, decide, err := t.command(due)
	if err != nil {
		return due, fmt.Errorf("timer %s: %w", key, err)
	}
	done, err := t.service.Writer.Do(ctx, writer.Command{Key: key, Actor: events.System, Joins: true, Decide: decide})
	var refused *ledger.Refusal
	switch {
	case err == nil:
		next, _ = ledger.Timers.Evolve(due, "", done.Event)
		return next, nil
	case errors.As(err, &refused) && isOver(refused.Code):
		t.logger.DebugContext(ctx, "a timer was not needed any more", "key", key, "why", refused.Code)
		return ledger.Timer{}, nil
	}
	return due, fmt.Errorf("timer %s: %w", key, err)
}

// isOver tells a refusal for good: what the timer is for has ended, and the views do not show it yet.
func isOver(code string) bool {
	return code == ledger.CodeCallOver || code == ledger.CodeHoldNotFound || code == ledger.CodeLotNotFound
}

var errUnknownTimer = errors.New("nobody knows what to do when it is due")

// command is what a timer asks for, and the key that makes it happen once.
func (t *Timers) command(due ledger.Timer) (key string, decide ledger.Decision, err error) {
	timer := func(name, id string) string { return fmt.Sprintf("timer/%s/%s/%d", name, id, due.Due) }
	switch due.Kind {
	case ledger.RingEnds:
		return timer("ring", due.Call), ledger.MissCall(due.Call), nil
	case ledger.MinuteBegins:
		return fmt.Sprintf("call/%s/%d", due.Call, due.Interval), ledger.ChargeCall(due.Call, due.Interval), nil
	case ledger.HoldExpires:
		return timer("hold", due.User+"/"+due.Hold), ledger.ExpireHold(due.User, due.Hold), nil
	case ledger.LotExpires:
		return timer("lot", due.User+"/"+due.Lot), ledger.ExpireLot(due.User, due.Lot), nil
	}
	return timer(string(due.Kind), due.Call+due.User), nil, errUnknownTimer
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
			return clock.Now(), fmt.Errorf("timer %s is due and does not settle", due[0].ID)
		}
		if same > 1 {
			pause(ctx, timersPause) // it may be refused, and is not tried again at once
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

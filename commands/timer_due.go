package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"truebond/ledger"
)

// A tried timer is one that was tried, and what has come of it for as long as the views do not show that.
type tried struct {
	id    string       // of its document
	shown ledger.Timer // as the views have it
	next  ledger.Timer // what is to be done now; zero: nothing any more
	since time.Time    // by the wall clock: refused from then on; zero: it is not
	again time.Time    // likewise: when it is tried again

	unreadable error // what is wrong with its document
}

// What is refused is tried again after a part of the time for which it was. So it is hardly later than
// what was wrong is over, and leaves others the room if that is never.
const (
	refusedPart     = 10
	refusedPauseMax = time.Minute
	causesMax       = 10 // that are told of many refusals
)

func (o tried) isRefused() bool { return !o.since.IsZero() }

// after is what has come of a timer that was tried: the one that comes after it, or a refusal.
func (o tried) after(next ledger.Timer, refused bool) tried {
	o.next = next
	if !refused {
		o.since, o.again = time.Time{}, time.Time{}
		return o
	}
	now := time.Now()
	if !o.isRefused() {
		o.since = now
	}
	o.again = now.Add(min(max(now.Sub(o.since)/refusedPart, timersPause), refusedPauseMax))
	return o
}

// due are timers that are due and to be tried now; those that are refused come behind all others. While
// the views stand still, what comes after the timers that they show is due as well: a call's next minutes.
func (t *Timers) due(ctx context.Context, now time.Time) ([]tried, error) {
	var first, refused []tried
	var after DueTimer
	still := map[string]tried{}
	begun := time.Now()
	page := min(timersAtOnceMax+len(t.tried), timersPageMax)
	for pages := 1; ; pages++ {
		shown, err := t.view.DueUntil(ctx, now, after, page)
		if err != nil {
			return nil, err
		}
		for _, timer := range shown {
			one, known := t.tried[timer.ID]
			if known && one.shown == timer.Timer {
				still[timer.ID] = one
			} else {
				one = tried{id: timer.ID, shown: timer.Timer, next: timer.Timer}
			}
			one.unreadable = timer.Err
			switch {
			case one.unreadable == nil && one.next == (ledger.Timer{}) || one.next.DueAt().After(now):
			case !one.isRefused():
				first = append(first, one)
			case !one.again.After(begun):
				refused = append(refused, one)
			}
		}
		if len(shown) < page {
			t.tried = still
			break
		}
		after = shown[len(shown)-1]
		if len(first) >= timersAtOnceMax || pages == timersPagesMax {
			// What the look did not come to may be in the views all the same.
			maps.DeleteFunc(t.tried, func(id string, one tried) bool {
				_, is := still[id]
				return one.shown.Due < after.Due && !is
			})
			break
		}
	}
	all := slices.Concat(first, refused)
	return all[:min(len(all), timersAtOnceMax)], nil
}

// inShort is one error of many, with one for each cause of them.
func inShort(failed []error) error {
	var short []error
	causes, n := map[string]bool{}, 0
	for _, err := range failed {
		if err == nil {
			continue
		}
		n++
		if cause := errors.Unwrap(err).Error(); !causes[cause] && len(causes) < causesMax {
			causes[cause] = true
			short = append(short, err)
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d timers are tried again, as these: %w", n, errors.Join(short...))
}

// count counts the timers that are refused.
func (t *Timers) count() {
	var refused int64
	for _, one := range t.tried {
		if one.isRefused() {
			refused++
		}
	}
	t.refused.Store(refused)
}

// forget is for when another server does what is due.
func (t *Timers) forget() {
	t.turn.Lock()
	defer t.turn.Unlock()
	clear(t.tried)
	t.count()
}

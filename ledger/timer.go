package ledger

import (
	"time"

	"truebond/events"
)

// A Timer is something that comes due.
type Timer struct {
	Kind     TimerKind `json:"kind"`
	Due      int64     `json:"due"`                // milliseconds
	Call     string    `json:"call,omitempty"`     // of rings and call minutes
	Interval int       `json:"interval,omitempty"` // of call minutes: which one is to be charged
	Started  int64     `json:"started,omitempty"`  // of call minutes: when the call was accepted
	User     string    `json:"user,omitempty"`     // of holds and lots
	Hold     string    `json:"hold,omitempty"`
	Lot      string    `json:"lot,omitempty"`
}

// TimerKind says what is to be done when a timer is due.
type TimerKind string

// The kinds of timers.
const (
	RingEnds     TimerKind = "ring_ends"
	MinuteBegins TimerKind = "minute_begins"
	HoldExpires  TimerKind = "hold_expires"
	LotExpires   TimerKind = "lot_expires"
)

// DueAt is when it is due.
func (t Timer) DueAt() time.Time { return time.UnixMilli(t.Due).UTC() }

// Timers are what is due and when, and nothing else is: a restart loses none. The
// writer does not look at them; a worker asks for those that are due.
var Timers = events.Fold[Timer]{
	Name:    "timers",
	Version: 1,
	Keys:    func(e events.Event) []string { return timerKeys(e.Data) },
	Evolve:  func(doc Timer, _ string, e events.Event) (Timer, bool) { return evolveTimer(doc, e) },
}

func timerKeys(p events.Payload) []string {
	if call, _, _ := callOf(p); call != "" {
		return []string{"call/" + call}
	}
	switch d := p.(type) {
	case events.CreditsReserved:
		return []string{"hold/" + d.User + "/" + d.Hold}
	case events.HoldCaptured:
		return []string{"hold/" + d.User + "/" + d.Hold}
	case events.HoldReleased:
		return []string{"hold/" + d.User + "/" + d.Hold}
	case events.UserSignedUp:
		if d.Bonus != nil && !d.Bonus.ExpiresAt.IsZero() {
			return []string{"lot/" + d.User + "/" + d.Bonus.ID}
		}
	case events.PaymentGranted:
		if !d.Lot.ExpiresAt.IsZero() {
			return []string{"lot/" + d.User + "/" + d.Lot.ID}
		}
	case events.LotExpired:
		return []string{"lot/" + d.User + "/" + d.Lot}
	}
	return nil
}

// evolveTimer sets a timer, or lets it go when what it waited for is over.
func evolveTimer(t Timer, e events.Event) (after Timer, keep bool) {
	switch d := e.Data.(type) {
	case events.CallInitiated:
		return Timer{Kind: RingEnds, Due: d.RingsUntil.UnixMilli(), Call: d.Call}, true
	case events.CallAccepted:
		return minute(d.Call, e.Time.UnixMilli(), 1), true
	case events.CallCharged:
		return minute(d.Call, t.Started, d.Interval+1), true
	case events.CreditsReserved:
		return Timer{Kind: HoldExpires, Due: d.ExpiresAt.UnixMilli(), User: d.User, Hold: d.Hold}, true
	case events.UserSignedUp:
		return Timer{Kind: LotExpires, Due: d.Bonus.ExpiresAt.UnixMilli(), User: d.User, Lot: d.Bonus.ID}, true
	case events.PaymentGranted:
		return Timer{Kind: LotExpires, Due: d.Lot.ExpiresAt.UnixMilli(), User: d.User, Lot: d.Lot.ID}, true
	}
	return Timer{}, false
}

// minute is when the n-th minute of a call begins; the first one began with the call.
func minute(call string, startedMillis int64, n int) Timer {
	return Timer{
		Kind: MinuteBegins, Due: startedMillis + int64(n)*interval.Milliseconds(),
		Call: call, Interval: n, Started: startedMillis,
	}
}

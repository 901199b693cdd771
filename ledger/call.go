package ledger

import (
	"time"

	"truebond/events"
)

// CallState is how far a call is.
type CallState string

// The states of a call. The last three are final.
const (
	CallRinging  CallState = "ringing"
	CallActive   CallState = "active"
	CallEnded    CallState = "ended"
	CallRejected CallState = "rejected"
	CallMissed   CallState = "missed"
)

// ringMax is how long a call rings.
const ringMax = 45 * time.Second

// interval is what a call is charged for at a time.
const interval = time.Minute

// lateMax is how late a minute may be charged.
const lateMax = 15 * time.Second

// A Call is one user calling another. Minute n begins, and is charged, n minutes after
// the call was accepted; minute 0 is charged with the accepting.
type Call struct {
	ID             string               `json:"id"`
	Position       uint64               `json:"position"` // of the event that made it ring
	Kind           events.CallKind      `json:"kind"`
	From           string               `json:"from"`
	To             string               `json:"to"`
	Parties        []string             `json:"parties"` // both, to be found by
	State          CallState            `json:"state"`   // empty: there is no such call
	PricePerMinute int64                `json:"price_per_minute"`
	RingsUntil     time.Time            `json:"rings_until,omitzero"`
	InitiatedAt    time.Time            `json:"initiated_at"`
	AcceptedAt     time.Time            `json:"accepted_at,omitzero"`
	EndedAt        time.Time            `json:"ended_at,omitzero"`   // also of those that never began
	Going          bool                 `json:"going,omitempty"`     // active, to be found by
	Intervals      int                  `json:"intervals,omitempty"` // how many were charged
	Charged        int64                `json:"charged,omitempty"`   // credits in all
	Seconds        int64                `json:"seconds,omitempty"`   // from accept to end
	EndReason      events.CallEndReason `json:"end_reason,omitempty"`
	EndedBy        string               `json:"ended_by,omitempty"` // empty: the server
}

// Over tells whether the call is in a final state.
func (c Call) Over() bool { return c.State != CallRinging && c.State != CallActive }

// Has tells whether a user is one of the two.
func (c Call) Has(user string) bool { return user != "" && (user == c.From || user == c.To) }

// due is when a minute begins.
func (c Call) due(n int) time.Time { return c.AcceptedAt.Add(time.Duration(n) * interval) }

// secondsAt is how long the call has been active, in whole seconds, but never longer than
// what was charged: a server that was away does not make a call longer.
func (c Call) secondsAt(now time.Time) int64 {
	if end := c.due(c.Intervals); now.After(end) {
		now = end
	}
	return int64(now.Sub(c.AcceptedAt) / time.Second)
}

// Calls are all calls, by id.
var Calls = events.Fold[Call]{
	Name:    "calls",
	Version: 1,
	Keys: func(e events.Event) []string {
		if call, _, _ := callOf(e.Data); call != "" {
			return []string{call}
		}
		return nil
	},
	Evolve: func(c Call, _ string, e events.Event) (Call, bool) { return c.after(e), true },
}

func (c Call) after(e events.Event) Call {
	switch d := e.Data.(type) {
	case events.CallInitiated:
		return Call{
			ID: d.Call, Position: e.Position, Kind: d.Kind, From: d.From, To: d.To, Parties: []string{d.From, d.To},
			State: CallRinging, PricePerMinute: d.PricePerMinute, RingsUntil: d.RingsUntil, InitiatedAt: e.Time,
		}
	case events.CallAccepted:
		c.State, c.AcceptedAt, c.PricePerMinute = CallActive, e.Time, d.PricePerMinute
		c.Intervals, c.Charged, c.Going = 1, d.Charged, true
	case events.CallCharged:
		c.Intervals, c.Charged = d.Interval+1, c.Charged+d.Charged
	case events.CallRejected:
		c.State, c.EndedAt = CallRejected, e.Time
	case events.CallMissed:
		c.State, c.EndedAt = CallMissed, e.Time
	case events.CallEnded:
		c.State, c.Seconds, c.EndReason, c.EndedBy = CallEnded, d.Seconds, d.Reason, d.By
		c.EndedAt, c.Going = e.Time, false
	}
	return c
}

// A Line is the one call that a user is in, ringing or active. There is never a second
// one: who is in a call is busy.
type Line struct {
	Call string `json:"call,omitempty"` // empty: none
}

// Lines are the users' lines, by the user's id.
var Lines = events.Fold[Line]{
	Name:    "lines",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch e.Data.(type) {
		case events.CallInitiated, events.CallRejected, events.CallMissed, events.CallEnded:
			_, from, to := callOf(e.Data)
			return []string{from, to}
		}
		return nil
	},
	Evolve: func(l Line, _ string, e events.Event) (Line, bool) {
		call, _, _ := callOf(e.Data)
		if _, begins := e.Data.(events.CallInitiated); begins {
			return Line{Call: call}, true
		}
		if l.Call == call {
			return Line{}, true
		}
		return l, true
	},
}

// callOf is the call that an event is about, and its two users; nothing if about none.
func callOf(p events.Payload) (call, from, to string) {
	switch d := p.(type) {
	case events.CallInitiated:
		return d.Call, d.From, d.To
	case events.CallAccepted:
		return d.Call, d.From, d.To
	case events.CallCharged:
		return d.Call, d.From, d.To
	case events.CallRejected:
		return d.Call, d.From, d.To
	case events.CallMissed:
		return d.Call, d.From, d.To
	case events.CallEnded:
		return d.Call, d.From, d.To
	}
	return "", "", ""
}

package events

import "time"

// CallKind is what a call carries.
type CallKind string

// The kinds of calls.
const (
	AudioCall CallKind = "audio"
	VideoCall CallKind = "video"
)

// CallInitiated rings the callee. It costs nothing.
type CallInitiated struct {
	Call           string    `json:"call"`
	Kind           CallKind  `json:"kind"`
	From           string    `json:"from"`
	To             string    `json:"to"`
	PricePerMinute int64     `json:"price_per_minute"` // today's; fixed only when accepted
	RingsUntil     time.Time `json:"rings_until"`
}

// CallAccepted starts a call at a fixed price and charges the caller's first minute.
type CallAccepted struct {
	Call           string `json:"call"`
	From           string `json:"from"`
	To             string `json:"to"`
	PricePerMinute int64  `json:"price_per_minute"`
	Charged        int64  `json:"charged"`
	Available      int64  `json:"available"` // the caller's credits after it
}

// CallCharged is another minute of a call.
type CallCharged struct {
	Call      string `json:"call"`
	From      string `json:"from"`
	To        string `json:"to"`
	Interval  int    `json:"interval"` // minutes since the call was accepted: 1, 2, …
	Charged   int64  `json:"charged"`
	Available int64  `json:"available"`
}

// CallRejected is a call that the callee did not want.
type CallRejected struct {
	Call string `json:"call"`
	From string `json:"from"`
	To   string `json:"to"`
}

// CallMissed is a call that rang to its end.
type CallMissed struct {
	Call string `json:"call"`
	From string `json:"from"`
	To   string `json:"to"`
}

// CallEnded is a call's end, and what it came to.
type CallEnded struct {
	Call    string        `json:"call"`
	From    string        `json:"from"`
	To      string        `json:"to"`
	By      string        `json:"by,omitempty"` // who hung up or was gone; empty: the server
	Reason  CallEndReason `json:"reason"`
	Seconds int64         `json:"seconds"` // from accept to end
	Charged int64         `json:"charged"` // credits in all
}

// CallEndReason says why a call ended.
type CallEndReason string

// Why calls end.
const (
	HungUp       CallEndReason = "hung_up"
	OutOfCredits CallEndReason = "out_of_credits"
	PartyGone    CallEndReason = "party_gone"
	ServerAway   CallEndReason = "server_away"
)

func (CallInitiated) Type() string { return "call.initiated" }
func (CallAccepted) Type() string  { return "call.accepted" }
func (CallCharged) Type() string   { return "call.charged" }
func (CallRejected) Type() string  { return "call.rejected" }
func (CallMissed) Type() string    { return "call.missed" }
func (CallEnded) Type() string     { return "call.ended" }

func (d CallInitiated) Subjects() []string { return []string{d.From, d.To, d.Call} }
func (d CallAccepted) Subjects() []string  { return []string{d.From, d.To, d.Call} }
func (d CallCharged) Subjects() []string   { return []string{d.From, d.To, d.Call} }
func (d CallRejected) Subjects() []string  { return []string{d.From, d.To, d.Call} }
func (d CallMissed) Subjects() []string    { return []string{d.From, d.To, d.Call} }
func (d CallEnded) Subjects() []string     { return []string{d.From, d.To, d.Call} }

var callTypes = []Type{
	typeOf[CallInitiated](1),
	typeOf[CallAccepted](1),
	typeOf[CallCharged](1),
	typeOf[CallRejected](1),
	typeOf[CallMissed](1),
	typeOf[CallEnded](1),
}

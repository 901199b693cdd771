package commands

import "truebond/events"

// A Receipt is embedded in the answer of every command that makes an event. It is not
// part of the answer's body: http puts it into headers, and remembers it so that the
// caller's next read sees this write.
type Receipt struct {
	Position uint64 `json:"-"` // the event's place in the log; 0 if there was nothing to do
	Replayed bool   `json:"-"` // the event was there already: this is the first answer again

	// Actor is whom the position is remembered for when it is not the caller: whoever
	// has just signed up or in, and was nobody before.
	Actor events.Actor `json:"-"`
}

// ReceiptOf is what a command came to.
func (r Receipt) ReceiptOf() (position uint64, replayed bool) { return r.Position, r.Replayed }

// RememberFor is whom the position is remembered for; the zero value is the caller.
func (r Receipt) RememberFor() events.Actor { return r.Actor }

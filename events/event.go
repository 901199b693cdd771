// Package events says what can happen in TrueBond: the event types, a file a
// feature, the envelope that carries them, and the JSON that keeps them for ever.
//
// It knows no log, no store and no clock, and imports nothing of ours.
package events

import "time"

// An Event is one thing that happened. It is never changed and never deleted;
// a mistake is reversed by a new event that names the old one.
type Event struct {
	Position  uint64    // in the log: 1, 2, 3 … without a gap
	Key       string    // what makes it happen once, for ever
	Time      time.Time // when the server decided, UTC, whole milliseconds
	Effective time.Time // when it happened outside (Stripe's created); else Time
	Actor     Actor     // who asked
	Cause     uint64    // position of the event that led to this one; 0 if none
	Request   []byte    // HMAC of the route and body that asked for it; nil if none
	Moves     []Move    // what it moved; nil if nothing
	Data      Payload   // what happened, in its own words
}

// A Record is an event together with the exact bytes that the log keeps of it.
type Record struct {
	Event
	Body []byte
}

// A Payload is what happened. Its type's name is on the wire for ever.
type Payload interface {
	// Type is the name on the wire: a noun and a verb in the past, `message.sent`.
	Type() string
	// Subjects are the ids of those whom it is about, the first one foremost.
	Subjects() []string
}

// KeyMax bounds a key's length in bytes; NATS keeps it in a header.
const KeyMax = 400

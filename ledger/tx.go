// Package ledger holds the rules: states (how documents follow from events) and decisions
// (what a command comes to), a file a feature. Beside them stands what those share who ask and
// answer by the rules: who asks (Caller), how the answer is no (Refusal), and what is
// hashed for what (Purpose…).
//
// It is pure. The time comes in as Tx.Now, an id as an argument; nothing here reads
// a clock, a random source, a database or a network.
package ledger

import (
	"time"

	"truebond/events"
)

// A Decision is a command that has been understood. It may be run more than once,
// and gives the same answer for the same documents: a payload and what it moves,
// or a Refusal.
type Decision func(*Tx) (events.Payload, []events.Move, error)

// A Ref names a document of a fold.
type Ref struct {
	Fold string
	Key  string
}

// Documents are what is known when a decision is made. Loaded is false for a document
// that is not at hand; one that is at hand and does not exist is its type's zero value.
type Documents interface {
	Document(ref Ref) (doc any, loaded bool)
}

// A Tx is what one decision sees: the time, and the documents as they are just
// before its event. It is made for one run and thrown away.
type Tx struct {
	Now     time.Time // UTC, whole milliseconds; never before the last event's
	docs    Documents
	missing []Ref
}

// NewTx lets one decision see these documents at this time.
func NewTx(now time.Time, docs Documents) *Tx { return &Tx{Now: now, docs: docs} }

// Missing are the documents that a decision asked for and that were not at hand. If
// there are any, what it decided means nothing: it is to run again with them.
func (tx *Tx) Missing() []Ref { return tx.missing }

// Load is the document of a fold under a key; its type's zero value if there is none.
func Load[D any](tx *Tx, fold events.Fold[D], key string) D {
	ref := Ref{Fold: fold.Name, Key: key}
	doc, loaded := tx.docs.Document(ref)
	if !loaded {
		tx.missing = append(tx.missing, ref)
	}
	if d, ok := doc.(D); ok {
		return d
	}
	var zero D
	return zero
}

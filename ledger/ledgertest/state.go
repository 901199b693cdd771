// Package ledgertest folds events in memory, as plainly as can be. Tests of decisions
// stand on it, and the writer is compared with it.
package ledgertest

import (
	"truebond/events"
	"truebond/ledger"
)

// A State is every document that follows from a list of events.
type State struct {
	docs map[ledger.Ref]any
}

// NewState is what follows from these events, in their order.
func NewState(history ...events.Event) *State {
	s := &State{docs: map[ledger.Ref]any{}}
	for _, e := range history {
		s.Apply(e)
	}
	return s
}

// Apply folds one more event into all documents that it touches.
func (s *State) Apply(e events.Event) {
	for _, f := range ledger.Folds() {
		for _, key := range f.Keys(e) {
			ref := ledger.Ref{Fold: f.Name, Key: key}
			doc, ok := s.docs[ref]
			if !ok {
				doc = f.Zero()
			}
			after, keep := f.Evolve(doc, key, e)
			if keep {
				s.docs[ref] = after
			} else {
				delete(s.docs, ref)
			}
		}
	}
}

// Document is a document by its name; here all are at hand.
func (s *State) Document(ref ledger.Ref) (any, bool) {
	return s.docs[ref], true
}

// Documents are all documents by their names.
func (s *State) Documents() map[ledger.Ref]any { return s.docs }

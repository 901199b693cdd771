package events

import "encoding/json"

// A Fold says how documents follow from events. The write side's states, the
// read side's views, timers and reports are all folds.
//
// Evolve applies what already happened, so it cannot fail. It never changes the
// document it was given, nor anything that this one shares with it: the writer
// takes decisions back by keeping the old one.
type Fold[D any] struct {
	Name    string
	Version int                  // raise it, and the documents are built anew beside the old
	Keys    func(Event) []string // which documents an event touches
	// Evolve gives the document after an event. An absent one is D's zero value; one
	// that is not to be kept is absent from then on.
	Evolve func(doc D, key string, e Event) (after D, keep bool)
}

// A Folding is a fold whose documents' type is forgotten, so that folds of
// many types can stand in one list.
type Folding struct {
	Name    string
	Version int
	Keys    func(Event) []string
	Evolve  func(doc any, key string, e Event) (after any, keep bool)
	Zero    func() any
	Decode  func(body []byte) (any, error)
}

// Folding forgets the type of the fold's documents.
func (f Fold[D]) Folding() Folding {
	return Folding{
		Name: f.Name, Version: f.Version, Keys: f.Keys,
		Evolve: func(doc any, key string, e Event) (any, bool) { return f.Evolve(doc.(D), key, e) },
		Zero:   func() any { var zero D; return zero },
		Decode: func(body []byte) (any, error) {
			var doc D
			err := json.Unmarshal(body, &doc)
			return doc, err
		},
	}
}

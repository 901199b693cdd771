// Package projections builds what is read from what happened: views, a file a view,
// and the projector that folds the log into them. Everything here can be thrown away
// and built again.
package projections

import (
	"truebond/events"
)

// A View is a fold whose documents are stored, and the indexes that its readers need.
type View struct {
	events.Folding
	Indexes []Index
}

// An Index makes documents findable by the values of some of their fields, in order.
// Fields are names at the top of the document's JSON. A document that lacks a field of
// an index is not in that index. The id is appended, so that equal values page well.
type Index struct {
	Name   string
	Fields []string
	Each   bool // the first field is an array: the document is found by each of its elements
}

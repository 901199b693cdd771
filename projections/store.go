package projections

import (
	"context"
	"errors"
)

// A Store keeps documents in tables, and for each table the position that it is folded
// to. MongoDB and SQLite stand behind it; nothing above knows which.
//
// Documents are JSON objects. Integers up to 63 bits keep their value.
type Store interface {
	// Create makes a table with its indexes at position 0, not live. One that exists
	// already stays as it is, but gets the indexes that it lacks.
	Create(ctx context.Context, t Table) error
	// Tables are all tables there are, and how far each is.
	Tables(ctx context.Context) ([]Progress, error)
	// Write stores what a batch of events came to, all or nothing. It is durable
	// enough to be rebuilt from the log. If a table is not at batch.From: ErrMoved.
	Write(ctx context.Context, batch Batch) error
	// GoLive makes a table the one that its view is read from, and drops the one
	// that was, in one step.
	GoLive(ctx context.Context, table string) error
	// Drop deletes a table and its documents. One that does not exist is dropped already.
	Drop(ctx context.Context, table string) error

	// Get finds documents by id; those that do not exist are left out.
	Get(ctx context.Context, table string, ids []string) ([]Document, error)
	// Find finds documents by an index.
	Find(ctx context.Context, table string, q Query) ([]Document, error)

	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// ErrMoved says that a table is not where a batch begins: somebody else has written.
var ErrMoved = errors.New("the table is at another position than the batch begins at")

// A Table is where the documents of one build of a view are kept.
type Table struct {
	Name    string // `<view>_<version>_<build>`: lower-case letters, digits and underscores
	View    string
	Version int
	Indexes []Index
}

// Progress is how far a table is.
type Progress struct {
	Table
	Live     bool
	Position uint64
	Hash     []byte // SHA-256 of the event's body at Position; nil at 0
}

// A Batch is what a run of events comes to in some tables.
type Batch struct {
	Tables []string // these go from From to To, whether or not a document changed
	From   uint64
	To     uint64
	Hash   []byte // SHA-256 of the event's body at To
	Writes []Write
}

// A Write puts a document, or deletes it when Body is nil.
type Write struct {
	Table string
	Document
}

// A Document is a JSON object under an id, folded to a position.
type Document struct {
	ID       string
	Position uint64 // of the last event that touched it
	Body     []byte
}

// A Query finds documents of a table by one of its indexes, or by their ids.
type Query struct {
	Index string  // the index's name; empty: by id
	Equal []any   // values (string, int64, bool) of the index's first fields
	Range Range   // of the index's next field; without an index, of the id (strings)
	Desc  bool    // the greatest first, by the remaining fields of the index and the id
	After *Cursor // begin behind this document
	Limit int     // 1 to PageMax
}

// PageMax bounds how many documents one query gives.
const PageMax = 1000

// A Range bounds a field: From ≤ value < Until. A nil bound is open.
type Range struct {
	From  any
	Until any
}

// A Cursor is where a page ended: its last document's values of the index's fields that
// Equal does not fix, and its id.
type Cursor struct {
	Values []any  `json:"v,omitempty"`
	ID     string `json:"id"`
}

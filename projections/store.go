package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Store keeps documents in tables, and for each table the position that it is folded
// to. MongoDB and SQLite stand behind it; nothing above knows which.
//
// Documents are JSON objects, nested up to 90 deep; a number is an integer of 63 bits and
// a sign, or a double. One comes back with the same value, not always the same bytes.
// Strings compare by their bytes. A read sees all of a batch or nothing of it.
//
// All but Create, Tables, Drop and Ping fail with ErrNoTable when a table does not exist,
// also when it was dropped a moment ago: look up the live one again.
type Store interface {
	// Create makes a table with its indexes at position 0, not live. One that exists
	// already stays as it is, but gets the indexes that it lacks. An index of the same
	// name with other fields is an error.
	Create(ctx context.Context, t Table) error
	// Tables are all tables there are, by name, and how far each is.
	Tables(ctx context.Context) ([]Progress, error)
	// Write stores what a batch of events came to, all or nothing. It is durable
	// enough to be rebuilt from the log. If a table is not at batch.From: ErrMoved.
	// After another error it may be stored nevertheless: see Tables.
	Write(ctx context.Context, batch Batch) error
	// GoLive makes a table the one that its view is read from, and drops the one
	// that was, in one step. For the one that is live already it does nothing.
	GoLive(ctx context.Context, table string) error
	// Drop deletes a table and its documents. One that does not exist is dropped already.
	Drop(ctx context.Context, table string) error

	// Get finds documents by id, in the order of their ids, each once; those that do
	// not exist are left out.
	Get(ctx context.Context, table string, ids []string) ([]Document, error)
	// Find finds documents by an index. ErrNoIndex: there is none of its name. ErrBadQuery: it does not
	// fit the table otherwise.
	Find(ctx context.Context, table string, q Query) ([]Document, error)

	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// What stores say no with.
var (
	// ErrMoved says that a table is not where a batch begins: somebody else has written.
	ErrMoved = errors.New("the table is at another position than the batch begins at")
	// ErrNoTable says that there is no such table, or no longer.
	ErrNoTable = errors.New("there is no such table")
	// ErrBadQuery says that a query, maybe by its cursor, does not fit the table.
	ErrBadQuery = errors.New("the query does not fit the table")
	// ErrNoIndex says that a table does not have a query's index. One that a newer program goes by is
	// made when that leads.
	ErrNoIndex = errors.New("the table has no such index")
)

// Limits that both stores keep.
const (
	PageMax       = 1000    // documents that one query gives
	IDBytesMax    = 1024    // of a document's id, which stands in every index
	BodyBytesMax  = 4 << 20 // of a document's JSON; Mongo takes 16 MiB of its own form
	nameBytesMax  = 63      // of a table, an index and a field
	indexesMax    = 16      // of a table: each costs on every write
	indexFieldMax = 4       // of an index
)

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

// A Batch is what a run of events comes to in some tables. It names a document once.
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
	Position uint64 // of the last event that touched it: after the batch's From, up to its To
	Body     []byte
}

// A Query finds documents of a table by one of its indexes, or by their ids. A field of an
// index holds strings, or integers, or booleans, the same in all documents; a document
// in which it is missing or null is not found by the index. An index with Each needs its
// first value in Equal: an element.
type Query struct {
	Index string  // the index's name; empty: by id
	Equal []any   // values (string, int64, bool) of the index's first fields
	Range Range   // of the index's next field; when none is left, of the id (strings)
	Desc  bool    // the greatest first, by the remaining fields of the index and the id
	After *Cursor // begin behind this document
	Limit int     // 1 to PageMax
}

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

// UnmarshalJSON reads a cursor. Its integers keep their value.
func (c *Cursor) UnmarshalJSON(body []byte) error {
	type plain Cursor
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode((*plain)(c)); err != nil {
		return err
	}
	for i, v := range c.Values {
		number, ok := v.(json.Number)
		if !ok {
			continue
		}
		n, err := number.Int64()
		if err != nil {
			return fmt.Errorf("value %d of the cursor is not an integer", i)
		}
		c.Values[i] = n
	}
	return nil
}

var (
	plainNames = regexp.MustCompile(`^[a-z][a-z0-9_]*$`) // of views, tables and indexes
	fieldNames = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
)

// Check refuses a table that a store cannot make.
func (t Table) Check() error {
	switch {
	case !plainNames.MatchString(t.Name) || len(t.Name) > nameBytesMax:
		return fmt.Errorf("table %q: its name is not %d lower-case letters, digits and underscores at most",
			t.Name, nameBytesMax)
	case t.View == "" || t.Version < 0:
		return fmt.Errorf("table %s: view %q in version %d is none", t.Name, t.View, t.Version)
	case len(t.Indexes) > indexesMax:
		return fmt.Errorf("table %s: %d indexes are more than %d", t.Name, len(t.Indexes), indexesMax)
	}
	seen := map[string]bool{}
	for _, x := range t.Indexes {
		if err := x.check(); err != nil {
			return fmt.Errorf("table %s: index %q: %w", t.Name, x.Name, err)
		}
		if seen[x.Name] {
			return fmt.Errorf("table %s: index %q stands twice in the list", t.Name, x.Name)
		}
		seen[x.Name] = true
	}
	return nil
}

func (x Index) check() error {
	if !plainNames.MatchString(x.Name) || len(x.Name) > nameBytesMax {
		return errors.New("its name is not of lower-case letters, digits and underscores")
	}
	if len(x.Fields) == 0 || len(x.Fields) > indexFieldMax {
		return fmt.Errorf("it has %d fields, not 1 to %d", len(x.Fields), indexFieldMax)
	}
	for i, f := range x.Fields {
		if !fieldNames.MatchString(f) || len(f) > nameBytesMax || slices.Contains(x.Fields[:i], f) {
			return fmt.Errorf("field %q is not a name, or stands there twice", f)
		}
	}
	return nil
}

// Lacking are the indexes of wanted that a table does not have yet.
func (t Table) Lacking(wanted []Index) ([]Index, error) {
	var lacking []Index
	for _, x := range wanted {
		at := slices.IndexFunc(t.Indexes, func(has Index) bool { return has.Name == x.Name })
		switch {
		case at < 0:
			lacking = append(lacking, x)
		case t.Indexes[at].Each != x.Each || !slices.Equal(t.Indexes[at].Fields, x.Fields):
			return nil, fmt.Errorf("table %s has another index %s", t.Name, x.Name)
		}
	}
	return lacking, nil
}

// Check refuses a batch that no store may take.
func (b Batch) Check() error {
	if len(b.Tables) == 0 || b.From >= b.To || b.To > math.MaxInt64 {
		return fmt.Errorf("a batch for %d tables from %d to %d is none", len(b.Tables), b.From, b.To)
	}
	seen := make(map[string]map[string]bool, len(b.Tables)) // ids by table
	for _, t := range b.Tables {
		if seen[t] != nil {
			return fmt.Errorf("table %q stands twice in the batch", t)
		}
		seen[t] = map[string]bool{}
	}
	for _, w := range b.Writes {
		ids := seen[w.Table]
		if ids == nil {
			return fmt.Errorf("document %q is for table %q, which is not in the batch", w.ID, w.Table)
		}
		if ids[w.ID] {
			return fmt.Errorf("document %q of table %s stands twice in the batch", w.ID, w.Table)
		}
		ids[w.ID] = true
		if w.Position <= b.From || w.Position > b.To {
			return fmt.Errorf("document %q of table %s is at %d, outside of the batch", w.ID, w.Table, w.Position)
		}
		if err := w.check(); err != nil {
			return fmt.Errorf("document %q of table %s: %w", w.ID, w.Table, err)
		}
	}
	return nil
}

func (d Document) check() error {
	switch {
	case !validID(d.ID):
		return fmt.Errorf("its id is not 1 to %d bytes of text", IDBytesMax)
	case d.Body == nil:
		return nil
	case len(d.Body) > BodyBytesMax:
		return fmt.Errorf("its %d bytes are more than %d", len(d.Body), BodyBytesMax)
	case !json.Valid(d.Body) || bytes.TrimLeft(d.Body, " \t\r\n")[0] != '{':
		return errors.New("it is not a JSON object")
	}
	return nil
}

// ValidIDs are those that a document can have.
func ValidIDs(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !validID(id) })
}

func validID(id string) bool {
	return id != "" && len(id) <= IDBytesMax && utf8.ValidString(id) && !strings.Contains(id, "\x00")
}

// Check refuses a query that does not fit a table, with ErrNoIndex or ErrBadQuery. Otherwise it gives
// the index: none, and so no fields, for a query by id.
func (q Query) Check(t Table) (Index, error) {
	var x Index
	if q.Index != "" {
		at := slices.IndexFunc(t.Indexes, func(x Index) bool { return x.Name == q.Index })
		if at < 0 {
			return x, fmt.Errorf("%w: table %s, index %q", ErrNoIndex, t.Name, q.Index)
		}
		x = t.Indexes[at]
	}
	if err := q.check(x); err != nil {
		return x, fmt.Errorf("%w: table %s, index %q: %w", ErrBadQuery, t.Name, q.Index, err)
	}
	return x, nil
}

func (q Query) check(x Index) error {
	free := len(x.Fields) - len(q.Equal)
	switch {
	case q.Limit < 1 || q.Limit > PageMax:
		return fmt.Errorf("the limit %d is not 1 to %d", q.Limit, PageMax)
	case free < 0:
		return fmt.Errorf("%d values are too many", len(q.Equal))
	case x.Each && len(q.Equal) == 0:
		return errors.New("it needs an element")
	case q.After != nil && len(q.After.Values) != free:
		return fmt.Errorf("the cursor has %d values, not %d", len(q.After.Values), free)
	}
	values := slices.Clone(q.Equal)
	for _, bound := range []any{q.Range.From, q.Range.Until} {
		if bound == nil {
			continue
		}
		if _, text := bound.(string); free == 0 && !text {
			return errors.New("a bound of the ids is not a string")
		}
		values = append(values, bound)
	}
	if q.After != nil {
		values = append(values, q.After.Values...)
	}
	for _, v := range values {
		if err := checkValue(v); err != nil {
			return err
		}
	}
	return nil
}

func checkValue(v any) error {
	switch v.(type) {
	case string, int64, bool:
		return nil
	}
	return fmt.Errorf("a value of type %T is neither a string nor an int64 nor a bool", v)
}

package queries

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/invopop/validation"

	"truebond/ledger"
	"truebond/projections"
)

// A Page asks for a stretch of a list.
type Page struct {
	Limit  *int   `query:"limit" nullable:"false" minimum:"1" maximum:"100" description:"50 if not given."`
	Cursor string `query:"cursor" empty:"ok" description:"The page before's next_cursor; the first page if not given."`
}

const (
	pageDefault = 50
	pageMax     = 100
)

func (p Page) Validate() error {
	return validation.ValidateStruct(&p,
		validation.Field(&p.Limit, validation.NilOrNotEmpty.Error("must be no less than 1"),
			validation.Min(1), validation.Max(pageMax)),
		validation.Field(&p.Cursor, validation.Length(0, 2048)),
	)
}

// A List is a stretch of a list, and where the next one begins.
type List[T any] struct {
	Data       []T    `json:"data"`
	HasMore    bool   `json:"has_more"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// ErrCursor says that a cursor is not one of this list's.
var ErrCursor = ledger.Refuse("invalid_cursor",
	"This cursor was not made for this list and these filters.").About("cursor")

// cursor is what next_cursor holds, opaque to clients: where the page ended, and which
// list and filters it is bound to.
type cursor struct {
	At   projections.Cursor `json:"at"`
	List string             `json:"list"`
}

// A listing is how a view is shown as a list: D are its documents, T is what is shown.
type listing[D, T any] struct {
	view  string
	query projections.Query
	after func(projections.Found[D]) []any // a document's values of the index's fields that Equal does not fix
	fits  func(D) bool                     // nil: all do
	with  []string                         // the filters in fits and within, to bind cursors to
	// within is a range that is another one when the log has grown; zero: query's own.
	within projections.Range
	show   func([]D) ([]T, error) // a page of them; see singly
}

// scanMax is how many documents one request looks through for those that fit.
const scanMax = 5000

// page finds a page of those documents that fit. When few of many do, a page may hold
// less than its limit and still have a next one.
func (l listing[D, T]) page(ctx context.Context, r *projections.Reader, page Page) (List[T], error) {
	q, bound := l.query, l.bound()
	if l.within != (projections.Range{}) {
		q.Range = l.within
	}
	if page.Cursor != "" {
		at, err := openCursor(page.Cursor, bound)
		if err != nil {
			return List[T]{}, err
		}
		q.After = &at
	}
	limit := pageDefault
	if page.Limit != nil {
		limit = *page.Limit
	}
	docs, more, err := l.find(ctx, r, &q, limit)
	if errors.Is(err, projections.ErrBadQuery) && page.Cursor != "" {
		return List[T]{}, ErrCursor // somebody has made it up
	}
	if err != nil {
		return List[T]{}, err
	}
	answer := List[T]{HasMore: more}
	if more {
		answer.NextCursor = sealCursor(cursor{*q.After, bound})
	}
	answer.Data, err = l.show(docs)
	return answer, err
}

// find finds up to limit documents that fit, and tells whether there may be more. The query is left
// behind the last document that was looked at.
func (l listing[D, T]) find(ctx context.Context, r *projections.Reader, q *projections.Query, limit int,
) (docs []D, more bool, err error) {
	q.Limit = limit + 1 // one more than is shown tells whether there are more
	for scanned := 0; ; {
		found, err := projections.FindAs[D](ctx, r, l.view, *q)
		if err != nil {
			return nil, false, err
		}
		for _, f := range found {
			fits := l.fits == nil || l.fits(f.Doc)
			if scanned++; (fits && len(docs) == limit) || scanned > scanMax {
				return docs, true, nil
			}
			q.After = &projections.Cursor{Values: l.after(f), ID: f.ID}
			if fits {
				docs = append(docs, f.Doc)
			}
		}
		if len(found) < q.Limit {
			return docs, false, nil
		}
	}
}

// singly shows a page of documents one by one.
func singly[D, T any](show func(D) T) func([]D) ([]T, error) {
	return func(docs []D) ([]T, error) {
		shown := make([]T, len(docs))
		for i, doc := range docs {
			shown[i] = show(doc)
		}
		return shown, nil
	}
}

// bound names a list and its filters, so that a cursor is good for no other.
func (l listing[D, T]) bound() string {
	q := l.query
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %q %q %q %v %q",
		l.view, q.Index, q.Equal, q.Range.From, q.Range.Until, q.Desc, l.with))
	return hex.EncodeToString(sum[:8])
}

// byID is for lists that are ordered by their ids alone.
func byID[D any](projections.Found[D]) []any { return nil }

// each goes through all documents that a query finds, page by page.
func each[D any](ctx context.Context, r *projections.Reader, view string, q projections.Query,
	after func(projections.Found[D]) []any, do func(D)) error {
	q.Limit = projections.PageMax
	for {
		found, err := projections.FindAs[D](ctx, r, view, q)
		if err != nil {
			return err
		}
		for _, f := range found {
			do(f.Doc)
		}
		if len(found) < q.Limit {
			return nil
		}
		last := found[len(found)-1]
		q.After = &projections.Cursor{Values: after(last), ID: last.ID}
	}
}

func sealCursor(c cursor) string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("a cursor cannot be written: %v", err)) // strings and numbers can
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func openCursor(text, bound string) (projections.Cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return projections.Cursor{}, ErrCursor
	}
	var c cursor
	if err := json.Unmarshal(raw, &c); err != nil || c.List != bound {
		return projections.Cursor{}, ErrCursor
	}
	return c.At, nil
}

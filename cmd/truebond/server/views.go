package server

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"truebond/commands"
	"truebond/commands/writer"
	"truebond/ledger"
	"truebond/projections"
)

// views are the stored documents as the writer, timers and the watch over calls see them.
type views struct {
	reader    *projections.Reader
	projector progress
}

// progress is how far the views are.
type progress interface {
	Position() uint64
	Wait(ctx context.Context, position uint64) error
}

// Stored is how far all views are.
func (v *views) Stored() uint64 { return v.projector.Position() }

// Wait returns once all views are at a position.
func (v *views) Wait(ctx context.Context, position uint64) error {
	return v.projector.Wait(ctx, position)
}

// Fetch finds the writer's documents.
func (v *views) Fetch(ctx context.Context, fold string, keys []string) (map[string]writer.StoredDocument, error) {
	docs, err := v.reader.Get(ctx, fold, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[string]writer.StoredDocument, len(docs))
	for _, d := range docs {
		found[d.ID] = writer.StoredDocument{Position: d.Position, Body: d.Body}
	}
	return found, nil
}

// Keys are the keys of a fold's documents, page by page.
func (v *views) Keys(ctx context.Context, fold, after string, max int) ([]string, error) {
	docs, err := v.reader.Find(ctx, fold, projections.Query{After: &projections.Cursor{ID: after}, Limit: max})
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(docs))
	for i, d := range docs {
		keys[i] = d.ID
	}
	return keys, nil
}

// APIKeyHash is the hash of the API key with an id; empty if there is none.
func (v *views) APIKeyHash(ctx context.Context, id string) (string, error) {
	found, err := v.reader.Find(ctx, ledger.APIKeys.Name,
		projections.Query{Index: projections.APIKeysByID, Equal: []any{id}, Limit: 1})
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].ID, nil
}

// SessionOver tells whether a session is known and over.
func (v *views) SessionOver(ctx context.Context, id string) (bool, error) {
	session, known, err := projections.OneAs[ledger.Session](ctx, v.reader, ledger.Sessions.Name, id)
	return known && !session.Live(time.Now()), err
}

// DueUntil are timers that are due, the earliest first, behind another one.
func (v *views) DueUntil(
	ctx context.Context, until time.Time, after commands.DueTimer, max int,
) ([]commands.DueTimer, error) {
	q := projections.Query{
		Index: projections.TimersByDue, Range: projections.Range{Until: projections.Millis(until) + 1}, Limit: max,
	}
	if after.ID != "" {
		q.After = &projections.Cursor{Values: []any{after.Due}, ID: after.ID}
	}
	found, err := v.reader.Find(ctx, ledger.Timers.Name, q)
	if err != nil {
		return nil, err
	}
	due := make([]commands.DueTimer, len(found))
	for i, d := range found {
		if due[i], err = dueTimer(d); err != nil {
			return nil, err
		}
	}
	return due, nil
}

// dueTimer reads a timer's document. One that cannot be read has its place all the same: what
// stands behind it is found from there.
func dueTimer(d projections.Document) (commands.DueTimer, error) {
	timer := commands.DueTimer{ID: d.ID}
	if timer.Err = json.Unmarshal(d.Body, &timer.Timer); timer.Err == nil {
		return timer, nil
	}
	var place struct {
		Due float64 `json:"due"` // any number: the index has it among those
	}
	if err := json.Unmarshal(d.Body, &place); err != nil {
		return timer, fmt.Errorf("read when timer %s is due (`truebond rebuild timers` makes it anew): %w", d.ID, err)
	}
	timer.Timer = ledger.Timer{Due: int64(place.Due)}
	return timer, nil
}

// Active are calls that are going on, after a position in the log.
func (v *views) Active(ctx context.Context, after uint64, max int) ([]ledger.Call, error) {
	return documents[ledger.Call](ctx, v.reader, ledger.Calls.Name, projections.Query{
		Index: projections.CallsActive, Equal: []any{true},
		Range: projections.Range{From: int64(after) + 1}, Limit: max,
	})
}

func documents[D any](ctx context.Context, r *projections.Reader, view string, q projections.Query) ([]D, error) {
	found, err := projections.FindAs[D](ctx, r, view, q)
	if err != nil {
		return nil, err
	}
	docs := make([]D, len(found))
	for i, f := range found {
		docs[i] = f.Doc
	}
	return docs, nil
}

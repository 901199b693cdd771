package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"truebond/ledger"
)

// ErrNotBuilt says that a view cannot be read yet: none of its tables is live. It will be, when it
// is built.
var ErrNotBuilt = errors.New("the view is not built yet")

// ErrStoreDamaged says that the store's file is not as it was written, or that the disk cannot read it.
var ErrStoreDamaged = errors.New("the views' file is damaged: stop the server, move it away, and they are built again")

// A Reader reads views, whichever tables they are in at the moment.
type Reader struct {
	store Store
	mu    sync.RWMutex
	live  map[string]string // the table of each view, as it was last seen
}

// NewReader reads the views of a store.
func NewReader(store Store) *Reader { return &Reader{store: store, live: map[string]string{}} }

// Get finds documents of a view by id, in the order of their ids; those that do not
// exist are left out. ErrNotBuilt: the view has no live table yet.
func (r *Reader) Get(ctx context.Context, view string, ids []string) ([]Document, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return r.read(ctx, view, func(table string) ([]Document, error) { return r.store.Get(ctx, table, ids) })
}

// Find finds documents of a view by an index. ErrNotBuilt: the view has no live table
// yet. ErrNoIndex: that has no such index yet. ErrBadQuery: it does not fit the view.
func (r *Reader) Find(ctx context.Context, view string, q Query) ([]Document, error) {
	return r.read(ctx, view, func(table string) ([]Document, error) { return r.store.Find(ctx, table, q) })
}

// read reads the live table of a view, and looks it up again when it has been replaced.
func (r *Reader) read(
	ctx context.Context, view string, read func(table string) ([]Document, error),
) ([]Document, error) {
	const swapsMax = 10 // while one reads; more is an error in the program
	table, err := r.table(ctx, view)
	if err != nil {
		return nil, err
	}
	for range swapsMax {
		docs, err := read(table)
		if err == nil {
			return docs, nil
		}
		if !errors.Is(err, ErrNoTable) {
			return nil, fmt.Errorf("read view %s: %w", view, unavailable(ctx, err))
		}
		if table, err = r.lookUp(ctx, view); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("read view %s: its table changes again and again", view)
}

// unavailable tells a store that failed from a question that it does not take.
func unavailable(ctx context.Context, err error) error {
	if errors.Is(err, ErrBadQuery) {
		return err
	}
	return ledger.Unavailable(ctx, err)
}

// table is the live table of a view, as far as is known.
func (r *Reader) table(ctx context.Context, view string) (string, error) {
	r.mu.RLock()
	table, known := r.live[view]
	r.mu.RUnlock()
	if known {
		return table, nil
	}
	return r.lookUp(ctx, view)
}

// lookUp is the live table of a view, as the store has it.
func (r *Reader) lookUp(ctx context.Context, view string) (string, error) {
	tables, err := r.store.Tables(ctx)
	if err != nil {
		return "", fmt.Errorf("list the tables: %w", unavailable(ctx, err))
	}
	live := map[string]string{}
	for _, t := range tables {
		if t.Live {
			live[t.View] = t.Name
		}
	}
	r.mu.Lock()
	r.live = live
	r.mu.Unlock()
	table, ok := live[view]
	if !ok {
		return "", fmt.Errorf("view %s: %w", view, ledger.Unavailable(ctx, ErrNotBuilt))
	}
	return table, nil
}

// A Found is a document with its JSON read.
type Found[D any] struct {
	ID       string
	Position uint64 // of the last event that touched it
	Doc      D
}

// OneAs is one document of a view; found is false if it does not exist.
func OneAs[D any](ctx context.Context, r *Reader, view, id string) (doc D, found bool, err error) {
	docs, err := GetAs[D](ctx, r, view, id)
	if err != nil {
		return doc, false, err
	}
	d, found := docs[id]
	return d.Doc, found, nil
}

// GetAs finds documents of a view by id; those that do not exist are left out.
func GetAs[D any](ctx context.Context, r *Reader, view string, ids ...string) (map[string]Found[D], error) {
	docs, err := r.Get(ctx, view, ids)
	if err != nil {
		return nil, err
	}
	found, err := decode[D](view, docs)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]Found[D], len(found))
	for _, f := range found {
		byID[f.ID] = f
	}
	return byID, nil
}

// FindAs finds documents of a view by an index, in its order.
func FindAs[D any](ctx context.Context, r *Reader, view string, q Query) ([]Found[D], error) {
	docs, err := r.Find(ctx, view, q)
	if err != nil {
		return nil, err
	}
	return decode[D](view, docs)
}

func decode[D any](view string, docs []Document) ([]Found[D], error) {
	found := make([]Found[D], len(docs))
	for i, d := range docs {
		found[i].ID, found[i].Position = d.ID, d.Position
		if err := json.Unmarshal(d.Body, &found[i].Doc); err != nil {
			return nil, fmt.Errorf("read document %q of view %s: %w", d.ID, view, err)
		}
	}
	return found, nil
}

package projections

import (
	"context"
	"sync"
)

// A Cache remembers documents of a view that is asked for all the time and hardly ever
// changes. What it answers is what the view would: as soon as any document of the view is
// written, it forgets them all.
type Cache[D any] struct {
	reader  *Reader
	view    string
	changes func(view string) (count uint64, ok bool)

	mu    sync.RWMutex
	count uint64 // what is remembered was read at this count of changes
	docs  map[string]D
}

// cachedMax bounds what a cache remembers; an API key has some hundred bytes.
const cachedMax = 10_000

// NewCache remembers documents of a view. changes is a Projector's Changes.
func NewCache[D any](r *Reader, view string, changes func(view string) (count uint64, ok bool)) *Cache[D] {
	return &Cache[D]{reader: r, view: view, changes: changes, docs: map[string]D{}}
}

// One is the document of an id; found is false if it does not exist.
func (c *Cache[D]) One(ctx context.Context, id string) (doc D, found bool, err error) {
	count, ok := c.changes(c.view) // before it is read, so that a later change is noticed
	if !ok {
		return OneAs[D](ctx, c.reader, c.view, id)
	}
	c.mu.RLock()
	doc, found = c.docs[id]
	found = found && c.count == count
	c.mu.RUnlock()
	if found {
		return doc, true, nil
	}
	doc, found, err = OneAs[D](ctx, c.reader, c.view, id)
	if err != nil || !found {
		return doc, found, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count != count || len(c.docs) >= cachedMax {
		clear(c.docs)
		c.count = count
	}
	c.docs[id] = doc
	return doc, true, nil
}

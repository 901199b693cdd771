package jetstream

import (
	"context"
	"slices"
	"sort"
	"sync"

	"truebond/events"
)

// tailBytesMax bounds what a tail keeps, in bytes of bodies: some fifty thousand events.
// Whoever is further behind reads from the server.
const tailBytesMax = 24 << 20

// A page of a tail takes so many records, unless their bodies are large. Whoever follows gets a page at most
// at once: as much as the projector folds together, which in smaller steps costs it a tenth more.
const (
	pageRecords  = 4000
	pageBytesMax = 4 << 20
)

// A tail is the newest events of an embedded log as they were appended, so that those who
// follow it need not read and decode again what this process wrote a moment ago. Nobody
// else can append, so nothing is missed by waiting for it to grow.
type tail struct {
	mu      sync.Mutex
	pages   [][]events.Record // none is empty; what stands in one is not changed
	bytes   int               // of all bodies
	page    int               // of those in the last page
	max     int               // of bytes
	changed chan struct{}     // closed when it has changed
}

func newTail() *tail { return &tail{max: tailBytesMax, changed: make(chan struct{})} }

// grow takes in what the log ends with since an append of ours. If that is not what comes next, the tail begins anew.
func (t *tail) grow(records []events.Record) {
	t.change(func() {
		if t.end() != records[0].Position {
			t.pages, t.bytes = nil, 0
		}
		for _, r := range records {
			last := len(t.pages) - 1
			if last < 0 || len(t.pages[last]) == pageRecords || t.page >= pageBytesMax {
				t.pages = append(t.pages, make([]events.Record, 0, pageRecords))
				last, t.page = last+1, 0
			}
			t.pages[last] = append(t.pages[last], r)
			t.page += len(r.Body)
			t.bytes += len(r.Body)
		}
		for t.bytes > t.max && len(t.pages) > 1 {
			t.bytes -= bodyBytes(t.pages[0])
			t.pages = t.pages[1:]
		}
	})
}

func bodyBytes(records []events.Record) (total int) {
	for _, r := range records {
		total += len(r.Body)
	}
	return total
}

// end is the position behind the last event; 0 if there is none.
func (t *tail) end() uint64 {
	if len(t.pages) == 0 {
		return 0
	}
	last := t.pages[len(t.pages)-1]
	return last[len(last)-1].Position + 1
}

// forget empties the tail: nobody knows how the log goes on.
func (t *tail) forget() { t.change(func() { t.pages, t.bytes = nil, 0 }) }

func (t *tail) change(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
	close(t.changed)
	t.changed = make(chan struct{})
}

// after are some of the events behind a position, max of them at most. known is false when
// the tail does not say what comes there; wait for changed when nothing does yet.
func (t *tail) after(position uint64, max int) (records []events.Record, known bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pages) == 0 || position+1 < t.pages[0][0].Position || position+1 > t.end() {
		return nil, false, t.changed
	}
	at := sort.Search(len(t.pages), func(i int) bool { return t.pages[i][0].Position > position+1 }) - 1
	rest := t.pages[at][position+1-t.pages[at][0].Position:]
	return slices.Clip(rest[:min(len(rest), max)]), true, t.changed
}

// follow yields what the tail has behind a position, and waits for more, until the tail
// does not know how it goes on. It ends with ctx's end, and with yield's error.
func (t *tail) follow(
	ctx context.Context, after *uint64, max int, yield func([]events.Record) error,
) error {
	for {
		records, known, changed := t.after(*after, max)
		if !known {
			return nil
		}
		if len(records) > 0 {
			if err := yield(records); err != nil {
				return &finalError{err}
			}
			*after += uint64(len(records))
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

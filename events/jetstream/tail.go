package jetstream

import (
	"context"
	"slices"
	"sync"

	"truebond/events"
)

// tailBytesMax bounds what a tail keeps, in bytes of bodies: some fifty thousand events.
// Whoever is further behind reads from the server.
const tailBytesMax = 24 << 20

// A tail is the newest events of an embedded log as they were appended, so that those who
// follow it need not read and decode again what this process wrote a moment ago. Nobody
// else can append, so nothing is missed by waiting for it to grow.
type tail struct {
	mu      sync.Mutex
	records []events.Record // one behind the other; none is changed
	bytes   int
	max     int           // of bytes
	changed chan struct{} // closed when it has changed
}

func newTail() *tail { return &tail{max: tailBytesMax, changed: make(chan struct{})} }

// grow takes in what the log ends with since an append of ours. If that is not what comes next, the tail begins anew.
func (t *tail) grow(records []events.Record) {
	t.change(func() {
		if n := len(t.records); n == 0 || t.records[n-1].Position+1 != records[0].Position {
			t.records, t.bytes = nil, 0
		}
		t.records = append(t.records, records...)
		for _, r := range records {
			t.bytes += len(r.Body)
		}
		drop := 0
		for ; t.bytes > t.max; drop++ {
			t.bytes -= len(t.records[drop].Body)
		}
		t.records = t.records[drop:]
	})
}

// forget empties the tail: nobody knows how the log goes on.
func (t *tail) forget() { t.change(func() { t.records, t.bytes = nil, 0 }) }

func (t *tail) change(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
	close(t.changed)
	t.changed = make(chan struct{})
}

// after are the events behind a position, max of them at most. known is false when the
// tail does not say what comes there; wait for changed when nothing does yet.
func (t *tail) after(position uint64, max int) (records []events.Record, known bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.records) == 0 || position+1 < t.records[0].Position {
		return nil, false, t.changed
	}
	at := position + 1 - t.records[0].Position
	if at > uint64(len(t.records)) {
		return nil, false, t.changed
	}
	rest := t.records[at:]
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

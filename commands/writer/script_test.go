package writer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"truebond/events"
)

// A scriptedLog is a log in memory that does what a test wants with an append.
type scriptedLog struct {
	codec *events.Codec

	mu      sync.Mutex
	records []events.Record
	appends [][]events.Record // as they were tried
	reads   int
	muted   bool // it gives no event

	// before and after an append takes place; n counts the tries from 1. An error is
	// the append's answer.
	before, after func(n int) error
}

func (l *scriptedLog) Append(ctx context.Context, after uint64, records []events.Record) error {
	l.mu.Lock()
	l.appends = append(l.appends, records)
	n := len(l.appends)
	l.mu.Unlock()
	if l.before != nil {
		if err := l.before(n); err != nil {
			return err
		}
	}
	if err := l.append(after, records); err != nil {
		return err
	}
	if l.after != nil {
		return l.after(n)
	}
	return ctx.Err()
}

// Stage does nothing, as it may.
func (l *scriptedLog) Stage(uint64, []events.Record) {}

func (l *scriptedLog) Batching() (from, turns int) { return 16, 0 }

// append is what the real log does: the same again at the same place is no harm.
func (l *scriptedLog) append(after uint64, records []events.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range records {
		at := int(after) + i
		switch {
		case r.Position != uint64(at)+1 || at > len(l.records):
			return fmt.Errorf("event %d does not belong at %d", r.Position, len(l.records)+1)
		case at == len(l.records):
			l.records = append(l.records, r)
		case !bytes.Equal(l.records[at].Body, r.Body):
			return fmt.Errorf("append: %w", events.ErrBeaten)
		}
	}
	return nil
}

// otherWrites is another writer's event at the log's end.
func (l *scriptedLog) otherWrites(t testing.TB, key string, payload events.Payload) events.Record {
	t.Helper()
	return l.otherAsks(t, Command{Key: key}, payload)
}

func (l *scriptedLog) otherAsks(t testing.TB, c Command, payload events.Payload) events.Record {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	e := events.Event{
		Position: uint64(len(l.records)) + 1, Key: c.Key, Time: morning, Effective: morning,
		Request: c.Request, Actor: events.System, Data: payload,
	}
	body, err := l.codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	l.records = append(l.records, events.Record{Event: e, Body: body})
	return l.records[e.Position-1]
}

func (l *scriptedLog) Read(_ context.Context, position uint64) (events.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.muted {
		return events.Record{}, errFault
	}
	if position == 0 || position > uint64(len(l.records)) {
		return events.Record{}, errors.New("there is no such event")
	}
	return l.read(l.records[position-1])
}

func (l *scriptedLog) ReadRange(_ context.Context, after uint64, max int) ([]events.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []events.Record
	for _, r := range l.records[after:min(after+uint64(max), uint64(len(l.records)))] {
		r, err := l.read(r)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

// read is an event as it comes out of a log.
func (l *scriptedLog) read(r events.Record) (events.Record, error) {
	e, err := l.codec.Decode(r.Position, r.Body)
	return events.Record{Event: e, Body: r.Body}, err
}

func (l *scriptedLog) tries() [][]events.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([][]events.Record(nil), l.appends...)
}

func (l *scriptedLog) mute(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.muted = yes
}

// keys are the keys of the log's events, in order.
func (l *scriptedLog) keys() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return keysOf(l.records)
}

func keysOf(records []events.Record) string {
	var keys []string
	for _, r := range records {
		keys = append(keys, r.Key)
	}
	return strings.Join(keys, " ")
}

package jetstream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"truebond/events"
)

func TestDamageInAFullBlockIsFoundByReadingAll(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	l := open(t, o)
	w := newWriting(t, "a")
	var all []events.Record
	for len(all) < 15_000 {
		next := w.next(t, uint64(len(all)), 1000)
		appended(t, l, uint64(len(all)), next)
		all = append(all, next...)
	}
	b := blocksIn(o.Dir)
	if numbers, err := b.numbers(); err != nil || len(numbers) != 2 {
		t.Fatalf("there are the blocks %v, want two: %v", numbers, err)
	}
	if err := l.Scrub(t.Context()); err != nil {
		t.Fatalf("a sound log: %v", err)
	}
	second := b.firstOf(2)
	for _, position := range []uint64{second, 100} {
		damage(t, o.Dir, all[position-1].Body, true)
		var found *Rot
		if err := l.Scrub(t.Context()); !errors.As(err, &found) || found.Position != position {
			t.Errorf("event %d is damaged, and reading all says %v", position, err)
		}
	}
	closed(t, l)
	if err := os.Remove(filepath.Join(string(b), "index.db")); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), o)
	failsWith(t, err, ErrRotten)
	mentions(t, err, "event 100")

	o.Damaged = true
	l = open(t, o)
	rest, err := l.ReadRange(t.Context(), second, 500)
	if err != nil {
		t.Fatal(err)
	}
	same(t, rest, all[second:second+500])
	if _, err := l.Read(t.Context(), 99); err != nil {
		t.Error(err)
	}
}

// What a crash has left half written belongs to the last append. What is damaged before it was on disk
// and acknowledged, also where no checkpoint tells so.
func TestDamageBeforeTheLastAppendIsNoCrash(t *testing.T) {
	for _, c := range []struct {
		name     string
		appends  []int // how many events each has
		position uint64
		found    bool
	}{
		{"one by one, before the last", []int{1, 1, 1}, 2, true},
		{"one by one, the last", []int{1, 1, 1}, 3, false},
		{"a batch before a lone event", []int{30, 1}, 30, true},
		{"a batch before another", []int{30, 30}, 30, true},
		{"the first of the last batch", []int{30, 30}, 31, false},
		{"within the last batch", []int{30, 30}, 50, false},
		{"the last of the last batch", []int{30, 30}, 60, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, all := written(t, c.appends...)
			damage(t, o.Dir, all[c.position-1].Body, false)

			l, err := Open(t.Context(), o)
			if c.found {
				failsWith(t, err, ErrRotten)
				mentions(t, err, fmt.Sprint("event ", c.position))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, l)
			if last, err := l.Last(t.Context()); err != nil || last != c.position-1 {
				t.Errorf("the log ends at %d, want %d: %v", last, c.position-1, err)
			}
		})
	}
}

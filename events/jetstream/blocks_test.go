package jetstream

import (
	"errors"
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

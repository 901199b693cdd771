package jetstream

import (
	"bytes"
	"errors"
	"testing"

	"truebond/events"
)

// What was appended a moment ago comes from memory, what was before from the server. Both
// are the bytes that stand in the log.
func TestWhoeverFollowsBodiesGetsTheExactBytes(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	w := newWriting(t, "bodies")
	var all []events.Record
	enough := errors.New("enough")
	for range 2 { // the second time, what was before is not in memory
		l, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, count := range []int{1, 30, 3} {
			records := w.next(t, uint64(len(all)), count)
			appended(t, l, uint64(len(all)), records)
			all = append(all, records...)
		}
		seen := 0
		err = l.FollowBodies(t.Context(), 0, 7, func(after uint64, bodies [][]byte) error {
			if after != uint64(seen) || len(bodies) > 7 {
				t.Errorf("%d events came behind %d, want behind %d", len(bodies), after, seen)
			}
			for _, body := range bodies {
				if !bytes.Equal(body, all[seen].Body) {
					t.Errorf("event %d is %s", seen+1, body)
				}
				seen++
			}
			if seen == len(all) {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Error(err)
		}
		some, err := l.ReadBodies(t.Context(), 4, 20)
		if err != nil || len(some) != 20 || !bytes.Equal(some[19], all[23].Body) {
			t.Errorf("%d bodies were read: %v", len(some), err)
		}
		last, err := l.Settled(t.Context(), uint64(len(all)))
		if err != nil || !bytes.Equal(last, all[len(all)-1].Body) {
			t.Errorf("the last one is %s: %v", last, err)
		}
		closed(t, l)
	}
}

// Else whoever is far behind would need memory for as many of the largest events as it takes small ones.
func TestLargeEventsComeFewAtATime(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	l, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	const many = 120
	w := newWriting(t, "large")
	records := w.next(t, 0, many)
	for i := range records {
		records[i].Body = append(records[i].Body, bytes.Repeat([]byte(" "), 200<<10)...)
	}
	appended(t, l, 0, records)
	closed(t, l)
	l, err = Open(t.Context(), o) // so that they are not in memory
	if err != nil {
		t.Fatal(err)
	}
	seen, enough := 0, errors.New("enough")
	err = l.Follow(t.Context(), 0, many, func(some []events.Record) error {
		if size := bodyBytes(some); size > requestBytes+events.BodyMax {
			t.Errorf("%d events of %d bytes come at once", len(some), size)
		}
		if seen += len(some); seen == many {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
	closed(t, l)
}

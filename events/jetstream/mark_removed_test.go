package jetstream

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"truebond/events"
)

// A sector of a disk holds several events. What stands behind it is not lost with it.
func TestWhatStandsBehindADamagedSectorIsKept(t *testing.T) {
	for _, at := range []int{0, 1, 20, 30} {
		t.Run(fmt.Sprint("events behind ", at), func(t *testing.T) {
			o, all := written(t, 60)
			zero(t, o.Dir, all[at].Body, all[at+7].Body)

			o.Damaged = true
			l := open(t, o)
			for i, want := range all {
				got, err := l.Read(t.Context(), uint64(i)+1)
				switch within := i >= at && i <= at+7; {
				case within:
					failsWith(t, err, ErrNotFound)
				case err != nil:
					t.Errorf("event %d: %v", i+1, err)
				default:
					same(t, []events.Record{got}, []events.Record{want})
				}
			}
		})
	}
}

// zero overwrites a block from the middle of one body to that of another.
func zero(t *testing.T, dir string, from, to []byte) {
	t.Helper()
	name := blocksIn(dir).name(1)
	block, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	first, last := bytes.Index(block, from), bytes.Index(block, to)
	if first < 0 || last < first {
		t.Fatal("the events are not in the first block")
	}
	clear(block[first+len(from)/2 : last+len(to)/2])
	if err := os.WriteFile(name, block, 0o600); err != nil {
		t.Fatal(err)
	}
}

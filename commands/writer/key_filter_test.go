package writer

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

func TestAFilterNeverDeniesAKeyThatWasUsed(t *testing.T) {
	const keys = 100_000
	f := newKeyFilter(keys)
	for i := range keys {
		f.add(fmt.Sprint("used/", i))
	}
	unsure := 0
	for i := range keys {
		if f.never(fmt.Sprint("used/", i)) {
			t.Fatalf("key %d was used, and is denied", i)
		}
		if !f.never(fmt.Sprint("new/", i)) {
			unsure++
		}
	}
	if unsure > keys/100 {
		t.Errorf("it is unsure about %d of %d keys", unsure, keys)
	}
	t.Logf("unsure about one key of %d", keys/max(1, unsure))
}

func TestAFilterThatIsFullIsReplaced(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		d.ask(block("k1", "bob")).got()
		first := d.memory.known.now
		if first == nil {
			t.Fatal("there is no filter")
		}
		first.held = first.room // as if so many keys had been used
		d.ask(block("k2", "eve")).got()
		if now := d.memory.known.now; now == first || now.never("k1") || now.never("k2") || !now.never("k3") {
			t.Errorf("the new filter does not know the keys of the old one")
		}
		if got := d.ask(block("k1", "bob")).got(); !got.Replayed {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAWriterThatStopsComplainsOfNoKeysThatItReadsNoMore(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.shelf.keysHang.Store(true)
		stop := running(t, d.Writer)
		synctest.Wait() // it reads the keys
		stop()
		synctest.Wait()
		if said := d.said.String(); strings.Contains(said, "cannot be read") {
			t.Errorf("it says: %s", said)
		}
	})
}

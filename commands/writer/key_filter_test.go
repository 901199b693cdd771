package writer

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
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

// Whoever asks again for one of another page would have a second effect.
func TestAFilterKnowsEachStoredKeyHoweverManyThereAre(t *testing.T) {
	for _, n := range []int{999, 1000, 1001, 2001} {
		atDesk(t, func(t *testing.T, d *desk) {
			used := make([]events.Record, n)
			for i := range used {
				user := fmt.Sprint("u", i)
				used[i] = d.log.otherAsks(t, block(fmt.Sprintf("used/%04d", i), user),
					events.UserBlocked{User: user, Blocked: "bob"})
			}
			d.shelf.store(t, used...)
			d.open()
			time.Sleep(time.Second) // it rests between two pages
			synctest.Wait()
			filter := d.memory.known.now
			if filter == nil {
				t.Fatal("there is no filter")
			}
			for _, r := range used {
				if filter.never(r.Key) {
					t.Fatalf("of %d keys, %s is denied", n, r.Key)
				}
			}
		})
	}
}

// It lacks what was used since: whoever asks again for that would have a second effect.
func TestAFilterFromBeforeTheDocumentsWereReadAgainIsNotTaken(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.shelf.keysFail.Store(true)
		d.open()
		time.Sleep(d.pause / 2)
		if err := d.Reread(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.ask(block("k", "bob")).got()
		time.Sleep(d.pause * 3 / 4)
		d.shelf.keysFail.Store(false) // the new one is complete first, and then that from before
		time.Sleep(2 * d.pause)
		synctest.Wait()
		if now := d.memory.known.now; now == nil || now.never("k") {
			t.Error("a key that was used is denied")
		}
	})
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

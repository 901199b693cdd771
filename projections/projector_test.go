package projections_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/projections"
)

func TestViewsEqualAFoldOfTheLogWhateverFails(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		flaky := &flakyStore{Store: w.store, chance: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))}
		w.store = flaky
		for range rapid.IntRange(1, 4).Draw(rt, "starts") {
			batch := projections.BatchEvents(rapid.IntRange(1, 40).Draw(rt, "batch"))
			recent := projections.RecentDocuments(rapid.IntRange(0, 60).Draw(rt, "recent"))
			p, stop := w.running(batch, recent)
			flaky.failOneIn(rapid.SampledFrom([]int{0, 8, 20}).Draw(rt, "fail one in"))
			for range rapid.IntRange(0, 5).Draw(rt, "bursts") {
				w.happens(rapid.IntRange(0, 40).Draw(rt, "events"))
				if rapid.Bool().Draw(rt, "views follow") {
					w.caughtUp(p)
				}
			}
			stop()
			flaky.failOneIn(0)
		}
		p, stop := w.running()
		w.caughtUp(p)
		stop()
		w.equalsAFold()
	})
}

func TestTwoProjectorsOfOneStoreCountNothingTwice(t *testing.T) {
	w := newWorld(t)
	first, stopFirst := w.running(projections.BatchEvents(7))
	second, _ := w.running(projections.BatchEvents(5))
	for range 20 {
		w.happens(10)
		time.Sleep(time.Millisecond)
	}
	w.caughtUp(first)
	w.caughtUp(second)
	w.equalsAFold()

	stopFirst()
	w.happens(50)
	w.caughtUp(second)
	w.equalsAFold()
}

func TestAnEmptyLogMakesReadyViews(t *testing.T) {
	w := newWorld(t)
	p, _ := w.running()
	w.caughtUp(p)
	if p.Position() != 0 || len(p.Building()) > 0 {
		t.Fatalf("the views are at %d, building %v", p.Position(), p.Building())
	}
	w.equalsAFold()
	positions, err := p.Positions(t.Context())
	if err != nil || len(positions) > 0 {
		t.Fatalf("positions %v, %v", positions, err)
	}
}

func TestADocumentMadeAndDeletedInABatchIsNotWritten(t *testing.T) {
	w := newWorld(t)
	block := events.UserBlocked{User: "usr_a", Blocked: "usr_b"}
	unblock := events.UserUnblocked{User: "usr_a", Blocked: "usr_b"}
	for _, data := range []events.Payload{block, unblock} {
		w.log.append(data)
	}
	writes := &watchedStore{Store: w.store}
	w.store = writes
	p, _ := w.running()
	w.caughtUp(p)
	w.equalsAFold()
	if n := writes.of("walls_1_1"); n != 0 {
		t.Errorf("%d documents were written for a wall that came and went", n)
	}
	for _, data := range []events.Payload{block, unblock, block} {
		w.log.append(data)
	}
	w.caughtUp(p)
	w.equalsAFold()
}

func TestAStoredPositionComesWithTheHashOfItsEvent(t *testing.T) {
	w := newWorld(t)
	w.happens(30)
	p, _ := w.running(projections.BatchEvents(8))
	w.caughtUp(p)
	positions, err := p.Positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(w.log.records[29].Body)
	if len(positions) != 1 || !bytes.Equal(positions[30], want[:]) {
		t.Fatalf("positions are %x, and event 30 has %x", positions, want)
	}
}

func TestAStoreThatIsAwayForLongDoesNotLoseTheProjector(t *testing.T) {
	w := newWorld(t)
	flaky := &flakyStore{Store: w.store, chance: rand.New(rand.NewPCG(1, 0))}
	away := &countingStore{Store: flaky}
	w.store = away
	p, _ := w.running()
	w.happens(20)
	w.caughtUp(p)
	flaky.failOneIn(1)
	w.happens(20)
	for away.asked.Store(0); away.asked.Load() < 20; {
		time.Sleep(time.Millisecond)
	}
	flaky.failOneIn(0)
	w.caughtUp(p)
	w.equalsAFold()
}

func TestAGapStopsTheProjector(t *testing.T) {
	w := newWorld(t)
	w.happens(9)
	w.log.records = slices.Delete(w.log.records, 4, 5)
	if err := w.runs(); !errors.Is(err, events.ErrGap) {
		t.Fatalf("Run ends with %v", err)
	}
	if at := w.liveTable("keys").Position; at > 4 {
		t.Errorf("event 5 is missing, and the views are at %d", at)
	}
}

func TestAnEventThatCannotBeReadStopsTheProjector(t *testing.T) {
	w := newWorld(t)
	w.happens(9)
	w.log.unreadable = errors.New("unknown type")
	if err := w.runs(); !errors.Is(err, projections.ErrUnreadable) || !errors.Is(err, w.log.unreadable) {
		t.Fatalf("Run ends with %v", err)
	}
}

func TestViewsThatAreAheadOfTheLogStopTheProjector(t *testing.T) {
	w := newWorld(t)
	w.hasFolded(9)
	w.log.records = w.log.records[:5]
	if err := w.projector().Prepare(t.Context()); !errors.Is(err, projections.ErrBroken) {
		t.Fatalf("Prepare says %v", err)
	}
}

func TestADocumentThatCannotBeReadStopsTheProjector(t *testing.T) {
	w := newWorld(t)
	w.hasFolded(9)
	w.happens(1)
	bad := projections.Document{ID: "all", Position: 10, Body: []byte(`{"events":"ten"}`)}
	err := w.store.Write(t.Context(), projections.Batch{
		Tables: []string{"everything_1_1"}, From: 9, To: 10, Hash: []byte("as it was"),
		Writes: []projections.Write{{Table: "everything_1_1", Document: bad}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.happens(1)
	if err := w.runs(); !errors.Is(err, projections.ErrBroken) {
		t.Fatalf("Run ends with %v", err)
	}
}

func TestAFoldThatMakesWhatNoStoreTakesStopsTheProjector(t *testing.T) {
	w := newWorld(t)
	nameless := tallies("nameless", func(events.Event) []string { return []string{""} })
	w.views = append(w.views, projections.View{Folding: nameless.Folding()})
	w.happens(1)
	if err := w.runs(); !errors.Is(err, projections.ErrBroken) {
		t.Fatalf("Run ends with %v", err)
	}
}

func TestViewsThatCannotBeToldApartAreRefused(t *testing.T) {
	for name, change := range map[string]func(*projections.View){
		"stands twice": func(v *projections.View) { v.Name = "keys" },
		"lower-case":   func(v *projections.View) { v.Name = "Walls" },
		"below 1":      func(v *projections.View) { v.Version = 0 },
	} {
		w := newWorld(t)
		change(&w.views[len(w.views)-1])
		err := w.projector().Prepare(t.Context())
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q should be refused, and Prepare says %v", name, err)
		}
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	p, _ := w.running()
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- p.Wait(ctx, 1) }()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Fatalf("Wait says %v", err)
	}
	w.happens(1)
	if err := p.Wait(t.Context(), 1); err != nil || p.Position() != 1 {
		t.Fatalf("Wait says %v at %d", err, p.Position())
	}
}

func TestViewsAreLeftAloneForAWhileWheneverManyEventsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p, stop := w.running(projections.BatchEvents(1000))
		for range 3 {
			w.happens(3000)
			began := time.Now()
			if w.caughtUp(p); time.Since(began) > 0 {
				t.Fatalf("somebody waited for the views, and they rested for %v", time.Since(began))
			}
			w.happens(1500)
			time.Sleep(500 * time.Millisecond)
			if p.Position() > w.log.last()-1500 {
				t.Fatalf("the views went on to %d of %d while many events came", p.Position(), w.log.last())
			}
			w.happens(1500)
			time.Sleep(time.Second)
			if p.Position() != w.log.last() {
				t.Fatalf("the views are at %d of %d when they have rested", p.Position(), w.log.last())
			}
		}
		stop()
	})
}

// runs prepares and runs a projector that ends by itself.
func (w *world) runs() error {
	w.t.Helper()
	p := w.projector()
	if err := p.Prepare(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	return p.Run(ctx)
}

// A countingStore counts how often it is asked for its tables.
type countingStore struct {
	projections.Store
	asked atomic.Int64
}

func (s *countingStore) Tables(ctx context.Context) ([]projections.Progress, error) {
	s.asked.Add(1)
	return s.Store.Tables(ctx)
}

package projections_test

import (
	"errors"
	"testing"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

func TestAReaderFindsWhatTheProjectorHasStored(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.log.append(events.UserBlocked{User: "usr_a", Blocked: "usr_b"})
	}
	w.log.append(events.UserBlocked{User: "usr_c", Blocked: "usr_b"})
	p, _ := w.running()
	w.caughtUp(p)
	r := projections.NewReader(w.store)

	people, err := projections.GetAs[tally](t.Context(), r, "people", "usr_a", "usr_b", "usr_z")
	if err != nil || len(people) != 2 || people["usr_a"].Doc.Events != 3 || people["usr_b"].Position != 4 {
		t.Errorf("people are %v, %v", people, err)
	}
	busiest, err := projections.FindAs[tally](t.Context(), r, "people",
		projections.Query{Index: "busiest", Desc: true, Limit: 2})
	if err != nil || len(busiest) != 2 || busiest[0].ID != "usr_b" || busiest[1].ID != "usr_a" {
		t.Errorf("the busiest are %v, %v", busiest, err)
	}
	if _, found, err := projections.OneAs[tally](t.Context(), r, "people", "usr_z"); err != nil || found {
		t.Errorf("a document that does not exist is found: %v, %v", found, err)
	}
	if none, err := r.Get(t.Context(), "people", nil); err != nil || len(none) > 0 {
		t.Errorf("nobody is %v, %v", none, err)
	}
}

func TestAViewWithoutALiveTableIsNotBuilt(t *testing.T) {
	w := newWorld(t)
	r := projections.NewReader(w.store)
	_, err := r.Get(t.Context(), "people", []string{"usr_a"})
	// It will be: who asks is told to come again.
	if !errors.Is(err, projections.ErrNotBuilt) || !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("Get says %v", err)
	}
	p, _ := w.running()
	w.caughtUp(p)
	if _, err := r.Get(t.Context(), "people", []string{"usr_a"}); err != nil {
		t.Errorf("Get says %v", err)
	}
}

// As on a server of a newer program, while an older one leads.
func TestAnIndexThatIsNotMadeYetMayBeAskedForLater(t *testing.T) {
	w := newWorld(t)
	w.log.append(events.UserBlocked{User: "usr_a", Blocked: "usr_b"})
	p, _ := w.running()
	w.caughtUp(p)
	_, err := projections.NewReader(w.store).Find(t.Context(), "people", projections.Query{Index: "newest", Limit: 1})
	if !errors.Is(err, projections.ErrNoIndex) || !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("Find says %v", err)
	}
}

func TestACacheAnswersAsItsViewDoes(t *testing.T) {
	w := newWorld(t)
	blocks := func() { w.log.append(events.UserBlocked{User: "usr_a", Blocked: "usr_b"}) }
	blocks()
	p, stop := w.running()
	w.caughtUp(p)
	reader := projections.NewReader(w.store)
	cache := projections.NewCache[tally](reader, "people", p.Changes)
	blind := projections.NewCache[tally](reader, "people", func(string) (uint64, bool) { return 7, true })
	is := func(c *projections.Cache[tally], want int) {
		t.Helper()
		doc, found, err := c.One(t.Context(), "usr_a")
		if err != nil || !found || doc.Events != int64(want) {
			t.Errorf("got %+v, %v, %v; want %d events", doc, found, err, want)
		}
	}
	is(cache, 1)
	is(blind, 1)
	for n := 2; n < 20; n++ {
		blocks()
		w.caughtUp(p)
		is(cache, n)
		is(cache, n)
	}
	is(blind, 1) // so it does remember, and knows nothing of changes
	if _, found, err := cache.One(t.Context(), "usr_z"); err != nil || found {
		t.Errorf("a document that does not exist is found: %v, %v", found, err)
	}
	stop()
	if _, ok := p.Changes("people"); ok {
		t.Error("a projector that has stopped says that it would see a change")
	}
	is(cache, 19)
}

// What stands in the view does not follow from the log, and nothing was written into it since the start.
func TestACacheForgetsWhatARebuildHasMended(t *testing.T) {
	w := newWorld(t)
	w.log.append(events.UserBlocked{User: "usr_a", Blocked: "usr_b"})
	right := w.views
	wrong := tallies("people", func(e events.Event) []string { return e.Data.Subjects() })
	wrong.Evolve = func(doc tally, _ string, _ events.Event) (tally, bool) { return tally{Events: doc.Events + 7}, true }
	w.views = someViews()
	w.views[2].Folding = wrong.Folding()
	p, stop := w.running()
	w.caughtUp(p)
	stop()
	w.views = right

	p, _ = w.running()
	w.caughtUp(p)
	cache := projections.NewCache[tally](projections.NewReader(w.store), "people", p.Changes)
	is := func(want int64) {
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, serves := p.Changes("people"); serves {
				break
			}
		}
		doc, _, err := cache.One(t.Context(), "usr_a")
		if err != nil || doc.Events != want {
			t.Errorf("got %+v, %v; want %d events", doc, err, want)
		}
	}
	is(7)
	if err := p.Rebuild(t.Context(), []string{"people"}, nil); err != nil {
		t.Fatal(err)
	}
	is(1)
}

package projections_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/projections"
)

// A watchedStore notes what is written, and lets a test step in before.
type watchedStore struct {
	projections.Store
	before func(projections.Batch) error
	goLive func(table string) error
	mu     sync.Mutex
	writes map[string]int    // documents by table
	from   map[string]uint64 // where the first batch of a table began
}

func (s *watchedStore) Write(ctx context.Context, b projections.Batch) error {
	if s.before != nil {
		if err := s.before(b); err != nil {
			return err
		}
	}
	if err := s.Store.Write(ctx, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes == nil {
		s.writes, s.from = map[string]int{}, map[string]uint64{}
	}
	for _, write := range b.Writes {
		s.writes[write.Table]++
	}
	for _, table := range b.Tables {
		if _, known := s.from[table]; !known {
			s.from[table] = b.From
		}
	}
	return nil
}

func (s *watchedStore) GoLive(ctx context.Context, table string) error {
	if s.goLive != nil {
		if err := s.goLive(table); err != nil {
			return err
		}
	}
	return s.Store.GoLive(ctx, table)
}

func (s *watchedStore) of(table string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes[table]
}

func (s *watchedStore) beganAt(table string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from[table]
}

// newVersion is a fold of people that counts in another way.
func (w *world) newVersion() {
	people := tallies("people", func(e events.Event) []string { return e.Data.Subjects()[:1] })
	people.Version = 2
	w.views = slices.Clone(w.views) // older projectors keep theirs
	w.views[2].Folding = people.Folding()
}

func TestANewVersionTakesOverWhenItHasCaughtUp(t *testing.T) {
	w := newWorld(t)
	w.hasFolded(200)

	w.newVersion()
	held := make(chan struct{})
	store := w.store
	w.store = &watchedStore{Store: store, before: func(b projections.Batch) error {
		if b.Tables[0] == "people_2_2" {
			<-held
		}
		return nil
	}}
	p, _ := w.running(projections.BatchEvents(10))
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	w.happens(50)
	if building := p.Building(); len(building) != 1 || building[0] != "people" {
		t.Fatalf("building %v", building)
	}
	if old := w.liveTable("people"); old.Version != 1 || old.Position != 200 {
		t.Fatalf("people are read from %v", old)
	}
	for w.liveTable("keys").Position < 250 {
		time.Sleep(time.Millisecond)
	}
	if p.Position() != 200 {
		t.Fatalf("what is read holds events up to 200, and Position is %d", p.Position())
	}
	release()
	w.caughtUp(p)
	if now := w.liveTable("people"); now.Version != 2 {
		t.Fatalf("people are read from %v", now)
	}
	if _, stays := w.tables()["people_1_1"]; stays {
		t.Error("the old table is still there")
	}
	w.happens(20)
	w.caughtUp(p)
	w.equalsAFold()
}

func TestABuildThatWasCutOffGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	w.hasFolded(200)

	w.newVersion()
	reached := make(chan struct{})
	store := w.store
	w.store = &watchedStore{Store: store, before: func(b projections.Batch) error {
		if b.Tables[0] == "people_2_2" && b.From >= 100 {
			close(reached)
			return context.Canceled
		}
		return nil
	}}
	_, stop := w.running(projections.BatchEvents(10), projections.Pauses(patience, patience))
	<-reached
	stop()

	other := projections.Table{Name: "people_2_9", View: "people", Version: 2}
	if err := store.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	counted := &watchedStore{Store: store}
	w.store = counted
	p, _ := w.running(projections.BatchEvents(10))
	w.caughtUp(p)
	if _, stays := w.tables()["people_2_9"]; stays {
		t.Error("a build that was less far is still there")
	}
	w.equalsAFold()
	if from := counted.beganAt("people_2_2"); from != 100 {
		t.Errorf("the build went on at %d", from)
	}
}

func TestAnOlderProgramStopsWhenANewerHasTakenOver(t *testing.T) {
	w := newWorld(t)
	w.happens(50)
	old := w.projector()
	if err := old.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- old.Run(ctx) }()
	w.caughtUp(old)

	w.newVersion()
	p, _ := w.running()
	w.caughtUp(p)
	w.happens(50)
	if err := <-ended; !errors.Is(err, projections.ErrBroken) {
		t.Fatalf("the old projector ends with %v", err)
	}
	w.caughtUp(p)
	w.equalsAFold()
}

func TestViewsThatComeBackCatchUp(t *testing.T) {
	w := newWorld(t)
	all := w.views
	for _, known := range []int{5, 4, 3, 3, 1} {
		w.views = all[:known]
		w.happens(40)
		p, stop := w.running()
		w.caughtUp(p)
		stop()
	}
	w.views = all
	counted := &watchedStore{Store: w.store}
	w.store = counted
	p, _ := w.running(projections.BatchEvents(7))
	w.caughtUp(p)
	w.equalsAFold()
	for table, position := range map[string]uint64{"walls_1_1": 40, "seldom_1_1": 80, "people_1_1": 160} {
		if from := counted.beganAt(table); from != position {
			t.Errorf("table %s was at %d, and went on at %d", table, position, from)
		}
	}
}

func TestARebuildWhileEventsComeInServesAllAlong(t *testing.T) {
	w := newWorld(t)
	w.happens(2000)
	p, _ := w.running(projections.BatchEvents(200))
	w.caughtUp(p)

	done := make(chan struct{})
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				w.happens(5) // far fewer than a rebuild takes at once, so it gains on them
				_ = p.Wait(context.Background(), w.log.last())
			}
		}
	})
	tasks.Go(func() { w.neverGoesBack(p, done) })
	var told sync.Map
	err := p.Rebuild(t.Context(), nil, func(view string, done, total uint64) {
		if done > total {
			t.Errorf("%s: %d of %d events are done", view, done, total)
		}
		told.Store(view, done)
	})
	close(done)
	tasks.Wait()
	if err != nil {
		t.Fatal(err)
	}
	w.caughtUp(p)
	w.equalsAFold()
	for _, v := range w.views {
		if now := w.liveTable(v.Name).Name; now != v.Name+"_1_2" {
			t.Errorf("view %s is read from %s", v.Name, now)
		}
		if at, _ := told.Load(v.Name); at == nil || at.(uint64) < 2000 {
			t.Errorf("view %s was told to be at %v", v.Name, at)
		}
	}
	if n := len(w.tables()); n != len(w.views) {
		t.Errorf("%d views have %d tables", len(w.views), n)
	}
}

// neverGoesBack reads a document that each event touches: it is there, and holds at
// least what the views were said to hold.
func (w *world) neverGoesBack(p *projections.Projector, done <-chan struct{}) {
	reader := projections.NewReader(w.store)
	for {
		select {
		case <-done:
			return
		default:
		}
		position := p.Position()
		all, found, err := projections.OneAs[tally](context.Background(), reader, "everything", "all")
		if err != nil || !found || uint64(all.Events) < position {
			w.t.Errorf("at %d a reader finds %v %v, %v", position, found, all, err)
			return
		}
	}
}

func TestARebuildThatIsInterruptedLeavesTheLiveTables(t *testing.T) {
	w := newWorld(t)
	w.happens(500)
	p, _ := w.running(projections.BatchEvents(10))
	w.caughtUp(p)
	before := w.tables()

	ctx, cancel := context.WithCancel(t.Context())
	err := p.Rebuild(ctx, []string{"people"}, func(_ string, done, _ uint64) {
		if done >= 100 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Rebuild says %v", err)
	}
	after := w.tables()
	if len(after) != len(before) || after["people_1_1"].Position != 500 {
		t.Fatalf("the tables were %v and are %v", before, after)
	}
	if err := p.Rebuild(t.Context(), []string{"people"}, nil); err != nil {
		t.Fatalf("Rebuild says %v the second time", err)
	}
	w.equalsAFold()
}

func TestARebuildThatIsInterruptedAtTheSwapKeepsWhatHasTakenOver(t *testing.T) {
	w := newWorld(t)
	w.happens(100)
	ctx, cancel := context.WithCancel(t.Context())
	w.store = &watchedStore{Store: w.store, goLive: func(table string) error {
		if table == "walls_1_2" {
			cancel()
			return errFlaky
		}
		return nil
	}}
	p, _ := w.running()
	w.caughtUp(p)
	if err := p.Rebuild(ctx, []string{"people", "walls"}, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Rebuild says %v", err)
	}
	w.happens(10)
	w.caughtUp(p)
	w.equalsAFold()
	people, walls := w.liveTable("people").Name, w.liveTable("walls").Name
	if people != "people_1_2" || walls != "walls_1_1" || len(w.tables()) != len(w.views) {
		t.Errorf("views are read from %s and %s of %v", people, walls, w.tables())
	}
}

func TestARebuildThatACrashCutOffIsDropped(t *testing.T) {
	w := newWorld(t)
	w.hasFolded(50)
	left := projections.Table{Name: "people_1_2", View: "people", Version: 1}
	if err := w.store.Create(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	p, _ := w.running()
	w.caughtUp(p)
	if _, stays := w.tables()["people_1_2"]; stays {
		t.Error("the unfinished table is still there")
	}
	w.equalsAFold()
}

func TestWhatCannotBeRebuiltIsRefused(t *testing.T) {
	w := newWorld(t)
	p, stop := w.running()
	if err := p.Rebuild(t.Context(), []string{"peple"}, nil); err == nil {
		t.Error("a view that does not exist was rebuilt")
	}
	w.happens(20)
	w.caughtUp(p)
	err := p.Rebuild(t.Context(), []string{"people"}, func(string, uint64, uint64) {
		if err := p.Rebuild(t.Context(), []string{"people"}, nil); err == nil {
			t.Error("a view was rebuilt twice at the same time")
		}
	})
	if err != nil {
		t.Error(err)
	}
	stop()
	if err := p.Rebuild(t.Context(), nil, nil); !errors.Is(err, projections.ErrStopped) {
		t.Errorf("after the end, Rebuild says %v", err)
	}
}

func TestARebuildSurvivesAFlakyStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		flaky := &flakyStore{Store: w.store, chance: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))}
		w.store = flaky
		w.happens(rapid.IntRange(0, 150).Draw(rt, "before"))
		p, stop := w.running(projections.BatchEvents(rapid.IntRange(1, 40).Draw(rt, "batch")))
		flaky.failOneIn(8)
		rebuilt := make(chan error, 1)
		go func() {
			for {
				err := p.Rebuild(context.Background(), nil, nil)
				if !errors.Is(err, errFlaky) { // to make the tables is tried once
					rebuilt <- err
					return
				}
			}
		}()
		w.happens(rapid.IntRange(0, 60).Draw(rt, "meanwhile"))
		if err := <-rebuilt; err != nil {
			rt.Fatal(err)
		}
		flaky.failOneIn(0)
		w.caughtUp(p)
		stop()
		w.equalsAFold()
	})
}

package projections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/projectiontest"
	"truebond/projections/sqlite"
)

// A judge is a test, or one try of a property.
type judge interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
	Cleanup(func())
	Context() context.Context
}

// A world is a log, a store and the views that are to follow from the log.
type world struct {
	t     judge
	log   *memoryLog
	store projections.Store
	views []projections.View
}

func newWorld(t judge) *world {
	t.Helper()
	return &world{t: t, log: newMemoryLog(), store: openStore(t), views: someViews()}
}

func openStore(t judge) projections.Store {
	t.Helper()
	dir, err := os.MkdirTemp("", "truebond-projector-")
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(filepath.Join(dir, "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Close(context.Background()), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return store
}

// A tally shows by its digest which events came, and in which order.
type tally struct {
	Events int64 `json:"events"`
	Digest int64 `json:"digest"`
}

func tallies(name string, keys func(e events.Event) []string) events.Fold[tally] {
	return events.Fold[tally]{
		Name: name, Version: 1, Keys: keys,
		Evolve: func(doc tally, _ string, e events.Event) (tally, bool) {
			return tally{doc.Events + 1, doc.Digest*31 + int64(e.Position)}, true
		},
	}
}

// A wall is whom a user has blocked. One without anybody is deleted.
type wall struct {
	Blocked []string `json:"blocked"`
}

var walls = events.Fold[wall]{
	Name: "walls", Version: 1,
	Keys: func(e events.Event) []string { return e.Data.Subjects()[:1] },
	Evolve: func(doc wall, _ string, e events.Event) (wall, bool) {
		switch d := e.Data.(type) {
		case events.UserBlocked:
			return wall{append(slices.Clone(doc.Blocked), d.Blocked)}, true
		case events.UserUnblocked:
			left := slices.DeleteFunc(slices.Clone(doc.Blocked), func(u string) bool { return u == d.Blocked })
			return wall{left}, len(left) > 0
		}
		return doc, len(doc.Blocked) > 0
	},
}

func someViews() []projections.View {
	all := tallies("everything", func(events.Event) []string { return []string{"all", "all"} })
	people := tallies("people", func(e events.Event) []string { return e.Data.Subjects() })
	seldom := tallies("seldom", func(e events.Event) []string {
		if e.Position%7 != 0 {
			return nil
		}
		return []string{fmt.Sprint("every7/", e.Position)}
	})
	return []projections.View{
		{Folding: ledger.Keys.Folding()},
		{Folding: all.Folding()},
		{Folding: people.Folding(), Indexes: []projections.Index{{Name: "busiest", Fields: []string{"events"}}}},
		{Folding: seldom.Folding()},
		{Folding: walls.Folding()},
	}
}

// happens appends random events.
func (w *world) happens(n int) {
	users := []string{"usr_a", "usr_b", "usr_c"}
	happened := make([]events.Payload, n)
	for i := range happened {
		from, to := users[rand.IntN(len(users))], users[rand.IntN(len(users))]
		happened[i] = events.UserUnblocked{User: from, Blocked: to}
		if rand.IntN(2) == 0 {
			happened[i] = events.UserBlocked{User: from, Blocked: to}
		}
	}
	w.log.append(happened...)
}

func (w *world) projector(options ...projections.Option) *projections.Projector {
	quick := projections.Pauses(10*time.Microsecond, 500*time.Microsecond)
	options = append([]projections.Option{quick}, options...)
	return projections.NewProjector(w.store, w.log, w.views, quiet(), options...)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running prepares and runs a projector until the test ends or stop is called.
func (w *world) running(options ...projections.Option) (p *projections.Projector, stop func()) {
	w.t.Helper()
	p = w.projector(options...)
	if err := p.Prepare(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return p, stop
}

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

// caughtUp waits until all views are built and hold the whole log.
func (w *world) caughtUp(p *projections.Projector) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.WaitBuilt(ctx, w.log.last()); err != nil {
		w.t.Fatalf("the views are at %d of %d, building %v: %v", p.Position(), w.log.last(), p.Building(), err)
	}
}

// hasFolded has so many events happen, and a projector fold them that has stopped again.
func (w *world) hasFolded(n int) {
	w.t.Helper()
	w.happens(n)
	p, stop := w.running()
	w.caughtUp(p)
	stop()
}

// equalsAFold compares what readers find with a plain fold of the log.
func (w *world) equalsAFold() {
	w.t.Helper()
	differences, err := projectiontest.Differences(context.Background(), w.store, w.views, w.log.history())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range differences[:min(5, len(differences))] {
		w.t.Error(line)
	}
	if len(differences) > 0 {
		w.t.Fatalf("%d documents differ from a fold of %d events", len(differences), w.log.last())
	}
}

func (w *world) tables() map[string]projections.Progress {
	w.t.Helper()
	all, err := w.store.Tables(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	byName := map[string]projections.Progress{}
	for _, t := range all {
		byName[t.Name] = t
	}
	return byName
}

// liveTable is the table that a view is read from.
func (w *world) liveTable(view string) projections.Progress {
	w.t.Helper()
	for _, t := range w.tables() {
		if t.Live && t.View == view {
			return t
		}
	}
	w.t.Fatalf("view %s has no live table", view)
	return projections.Progress{}
}

// A memoryLog is a log in memory.
type memoryLog struct {
	mu      sync.Mutex
	records []events.Record
	grown   chan struct{}

	unreadable error // what its end is to a reader; nil: it waits
}

func newMemoryLog() *memoryLog { return &memoryLog{grown: make(chan struct{})} }

// append lets readers see all of it at once.
func (l *memoryLog) append(happened ...events.Payload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, data := range happened {
		position := uint64(len(l.records) + 1)
		at := time.UnixMilli(int64(position)).UTC()
		e := events.Event{Position: position, Key: fmt.Sprint("key/", position), Time: at, Effective: at, Data: data}
		body, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		l.records = append(l.records, events.Record{Event: e, Body: body})
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *memoryLog) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.records))
}

func (l *memoryLog) history() []events.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var history []events.Event
	for _, r := range l.records {
		history = append(history, r.Event)
	}
	return history
}

func (l *memoryLog) Last(context.Context) (uint64, error) { return l.last(), nil }

func (l *memoryLog) Known() uint64 { return l.last() }

func (l *memoryLog) Follow(
	ctx context.Context, after uint64, most int, yield func([]events.Record) error,
) error {
	reused := make([]events.Record, 0, most) // as a thrifty log does
	for {
		l.mu.Lock()
		reused = append(reused[:0], l.records[after:min(uint64(len(l.records)), after+uint64(most))]...)
		grown := l.grown
		l.mu.Unlock()
		if len(reused) > 0 {
			after += uint64(len(reused))
			if err := yield(reused); err != nil {
				return err
			}
			continue
		}
		if l.unreadable != nil {
			return l.unreadable
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A flakyStore fails at random: before it does what it is asked to, or after.
type flakyStore struct {
	projections.Store
	mu     sync.Mutex
	chance *rand.Rand
	oneIn  int // calls that fail; 0: none
}

var errFlaky = errors.New("the store is away")

func (s *flakyStore) failOneIn(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oneIn = n
}

// fate tells whether a call fails before or after it has done its work.
func (s *flakyStore) fate() (before, after error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oneIn == 0 || s.chance.IntN(s.oneIn) > 0 {
		return nil, nil
	}
	if s.chance.IntN(2) == 0 {
		return errFlaky, nil
	}
	return nil, errFlaky
}

func (s *flakyStore) try(do func() error) error {
	before, after := s.fate()
	if before != nil {
		return before
	}
	if err := do(); err != nil {
		return err
	}
	return after
}

func (s *flakyStore) Create(ctx context.Context, t projections.Table) error {
	return s.try(func() error { return s.Store.Create(ctx, t) })
}

func (s *flakyStore) Tables(ctx context.Context) (all []projections.Progress, err error) {
	err = s.try(func() error { all, err = s.Store.Tables(ctx); return err })
	return all, err
}

func (s *flakyStore) Write(ctx context.Context, b projections.Batch) error {
	return s.try(func() error { return s.Store.Write(ctx, b) })
}

func (s *flakyStore) GoLive(ctx context.Context, table string) error {
	return s.try(func() error { return s.Store.GoLive(ctx, table) })
}

func (s *flakyStore) Drop(ctx context.Context, table string) error {
	return s.try(func() error { return s.Store.Drop(ctx, table) })
}

func (s *flakyStore) Get(
	ctx context.Context, table string, ids []string,
) (docs []projections.Document, err error) {
	err = s.try(func() error { docs, err = s.Store.Get(ctx, table, ids); return err })
	return docs, err
}

package writer

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/sqlite"
)

// TestTheLogIsWhatAPlainFoldDecidesOnSQLite is the same with the real projector, which
// stores the documents in a real file.
func TestTheLogIsWhatAPlainFoldDecidesOnSQLite(t *testing.T) {
	checked := 0
	rapid.Check(t, func(rt *rapid.T) {
		if checked++; checked > 15 {
			return // each takes a while
		}
		store, err := sqlite.Open(filepath.Join(t.TempDir(), "views.db"))
		if err != nil {
			rt.Fatal(err)
		}
		rt.Cleanup(func() {
			if err := store.Close(context.Background()); err != nil {
				rt.Error(err)
			}
		})
		var projector *projections.Projector
		newModel(t, rt, func(m *model) func() (Documents, func()) {
			return func() (Documents, func()) {
				if projector != nil { // one for all writers, as in the program
					return &realStore{projections.NewReader(store), projector, m.faults}, func() {}
				}
				p, stop := m.project(store)
				projector = p
				rt.Cleanup(stop)
				return &realStore{projections.NewReader(store), projector, m.faults}, func() {}
			}
		}).run()
	})
	noneLeft(t)
}

// project runs a projector of the writer's documents.
func (m *model) project(store projections.Store) (p *projections.Projector, stop func()) {
	var views []projections.View
	for _, f := range ledger.Folds() {
		views = append(views, projections.View{Folding: f})
	}
	p = projections.NewProjector(store, m.log, views, slog.New(slog.DiscardHandler),
		projections.BatchEvents(7), projections.Pauses(time.Millisecond, 10*time.Millisecond))
	if err := p.Prepare(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return p, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			m.t.Error(err)
		}
	})
}

// A realStore is the documents as the program hands them to the writer.
type realStore struct {
	reader    *projections.Reader
	projector *projections.Projector
	faults    *faults
}

func (s *realStore) Stored() uint64 { return s.projector.Position() }

func (s *realStore) Fetch(ctx context.Context, fold string, keys []string) (map[string]StoredDocument, error) {
	if err := s.faults.fetch(ctx, fold, keys); err != nil {
		return nil, err
	}
	docs, err := s.reader.Get(ctx, fold, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[string]StoredDocument, len(docs))
	for _, d := range docs {
		found[d.ID] = StoredDocument{Position: d.Position, Body: d.Body}
	}
	return found, nil
}

func (s *realStore) Keys(ctx context.Context, fold, after string, max int) ([]string, error) {
	docs, err := s.reader.Find(ctx, fold, projections.Query{After: &projections.Cursor{ID: after}, Limit: max})
	keys := make([]string, len(docs))
	for i, d := range docs {
		keys[i] = d.ID
	}
	return keys, err
}

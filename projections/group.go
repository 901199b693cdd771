package projections

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"truebond/events"
)

// A group is tables at one position that are folded on together. After a failure it is
// thrown away, with all that it remembers, and made anew from what is stored.
type group struct {
	position uint64
	builds   []*build
	written  []string // views of which the last batch wrote documents
}

// A build is a table of a view, and what of it is at hand.
type build struct {
	viewTable
	recent recent
}

// A state is a document at hand.
type state struct {
	doc      any    // nil: there is none
	position uint64 // events up to here are folded in
	stored   bool   // the store has it, or will have with the batch at work
	changed  bool   // in the batch at work
}

func (p *Projector) newBuild(t viewTable) *build {
	return &build{viewTable: t, recent: newRecent(max(1, p.limits.recentDocs/2/len(p.views)))}
}

// fold folds the next events into a group's tables and stores what they come to, with
// their position.
func (p *Projector) fold(ctx context.Context, g *group, records []events.Record) error {
	if len(records) == 0 {
		return nil
	}
	for i, r := range records {
		if want := g.position + uint64(i) + 1; r.Position != want {
			return fmt.Errorf("fold event %d: %w: %d comes instead", want, events.ErrGap, r.Position)
		}
	}
	last := records[len(records)-1]
	if len(g.builds) > 0 {
		batch, err := p.batch(ctx, g, records)
		if err != nil {
			return err
		}
		hash := sha256.Sum256(last.Body)
		batch.From, batch.To, batch.Hash = g.position, last.Position, hash[:]
		if err := p.store.Write(ctx, batch); err != nil {
			if bad := batch.Check(); bad != nil {
				err = fmt.Errorf("%w: %w", ErrBroken, bad) // a fold makes what no store takes
			}
			return fmt.Errorf("store events %d to %d: %w", g.position+1, last.Position, err)
		}
	}
	g.position = last.Position
	return nil
}

// batch is what events come to in a group's tables, each of which is folded on its own.
func (p *Projector) batch(ctx context.Context, g *group, records []events.Record) (Batch, error) {
	var all Batch
	g.written = g.written[:0]
	writes := make([][]Write, len(g.builds))
	failed := make([]error, len(g.builds))
	var tasks sync.WaitGroup
	for i, b := range g.builds {
		all.Tables = append(all.Tables, b.Name)
		tasks.Go(func() { writes[i], failed[i] = b.fold(ctx, p.store, records) })
	}
	tasks.Wait()
	for i, b := range g.builds {
		if failed[i] != nil {
			return all, fmt.Errorf("fold into table %s: %w", b.Name, failed[i])
		}
		all.Writes = append(all.Writes, writes[i]...)
		if len(writes[i]) > 0 {
			g.written = append(g.written, b.View)
		}
	}
	return all, nil
}

// fold is what events change in one table.
func (b *build) fold(ctx context.Context, store Store, records []events.Record) ([]Write, error) {
	touched := make([][]string, len(records)) // by each event
	at := map[string]*state{}
	var order, missing []string
	for i, r := range records {
		touched[i] = b.view.Keys(r.Event)
		for _, id := range touched[i] {
			if at[id] != nil {
				continue
			}
			s := b.recent.get(id)
			if s == nil {
				s = &state{}
				missing = append(missing, id)
			}
			at[id] = s
			order = append(order, id)
		}
	}
	if err := b.fetch(ctx, store, missing, at); err != nil {
		return nil, err
	}
	for i, r := range records {
		for _, id := range touched[i] {
			b.evolve(at[id], id, r.Event)
		}
	}
	return b.writes(order, at)
}

// fetch reads documents that are not at hand.
func (b *build) fetch(ctx context.Context, store Store, ids []string, into map[string]*state) error {
	if len(ids) == 0 {
		return nil
	}
	found, err := store.Get(ctx, b.Name, ids)
	if err != nil {
		return err
	}
	for _, d := range found {
		doc, err := b.view.Decode(d.Body)
		if err != nil {
			return fmt.Errorf("%w: document %q cannot be read; has the view a new version? %w", ErrBroken, d.ID, err)
		}
		s := into[d.ID]
		if s == nil {
			return fmt.Errorf("%w: document %q was not asked for", ErrBroken, d.ID)
		}
		s.doc, s.position, s.stored = doc, d.Position, true
	}
	for _, id := range ids {
		b.recent.put(id, into[id])
	}
	return nil
}

// evolve folds an event into a document, once, however often Keys names it.
func (b *build) evolve(s *state, id string, e events.Event) {
	if s.position >= e.Position {
		return
	}
	doc := s.doc
	if doc == nil {
		doc = b.view.Zero()
	}
	after, keep := b.view.Evolve(doc, id, e)
	if !keep {
		after = nil
	}
	s.doc, s.position, s.changed = after, e.Position, true
}

// writes are the documents that changed, in the order in which they were touched.
func (b *build) writes(order []string, at map[string]*state) ([]Write, error) {
	writes := make([]Write, 0, len(order))
	for _, id := range order {
		s := at[id]
		if !s.changed {
			continue
		}
		s.changed = false
		var body []byte
		if s.doc != nil {
			var err error
			if body, err = json.Marshal(s.doc); err != nil {
				return nil, fmt.Errorf("%w: document %q cannot be written: %w", ErrBroken, id, err)
			}
		} else if !s.stored {
			continue // made and deleted within the batch
		}
		s.stored = s.doc != nil
		writes = append(writes, Write{Table: b.Name, Document: Document{ID: id, Position: s.position, Body: body}})
	}
	b.recent.age()
	return writes, nil
}

// recent remembers documents that were used lately: max at least, and twice as many and
// a batch's at most.
type recent struct {
	max        int
	young, old map[string]*state
}

func newRecent(maxDocs int) recent {
	return recent{max: maxDocs, young: map[string]*state{}}
}

func (r *recent) get(id string) *state {
	if s := r.young[id]; s != nil {
		return s
	}
	s := r.old[id]
	if s != nil {
		r.young[id] = s
	}
	return s
}

func (r *recent) put(id string, s *state) { r.young[id] = s }

// age forgets what was not used since it last did so, if there is too much.
func (r *recent) age() {
	if len(r.young) >= r.max {
		r.young, r.old = map[string]*state{}, r.young
	}
}

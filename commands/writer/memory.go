package writer

import (
	"slices"

	"truebond/events"
	"truebond/ledger"
)

// memory is the writer's documents as they are after all that was decided, in the log
// or on its way there. Only the writer's loop touches it.
type memory struct {
	folds  []events.Folding
	byName map[string]events.Folding
	docs   map[ledger.Ref]*entry
	known  knownKeys
	keys   []ledger.Ref // documents of used keys at hand, the oldest first
	round  uint64       // counts batches, to tell what was used lately
	sweep  uint64       // the first round in which it may be looked again for what can go: that takes a while
}

// An entry is a document at hand.
type entry struct {
	doc      any    // nil: there is none
	position uint64 // events up to here are folded in
	used     uint64 // the round it was last asked for
	pins     int    // commands that wait for another document and need this one too
}

// A touch is a document that an event touches.
type touch struct {
	fold  int
	ref   ledger.Ref
	entry *entry // nil: it is not at hand
}

func newMemory(folds []events.Folding) *memory {
	m := &memory{folds: folds, byName: map[string]events.Folding{}, docs: map[ledger.Ref]*entry{}}
	for _, f := range folds {
		m.byName[f.Name] = f
	}
	return m
}

// Document is a document at hand. That of a key that was never used need not be fetched.
func (m *memory) Document(ref ledger.Ref) (any, bool) {
	e, ok := m.docs[ref]
	if !ok {
		if ref.Fold != ledger.Keys.Name || !m.known.never(ref.Key) {
			return nil, false
		}
		e = &entry{}
		m.keep(ref, e)
	}
	e.used = m.round
	return e.doc, true
}

// keep puts a document into memory.
func (m *memory) keep(ref ledger.Ref, e *entry) {
	m.docs[ref] = e
	if ref.Fold == ledger.Keys.Name {
		m.keys = append(m.keys, ref)
	}
}

// touches are the documents that an event touches, into a slice that is used again.
func (m *memory) touches(e events.Event, into []touch) []touch {
	for i, f := range m.folds {
		for _, key := range f.Keys(e) {
			ref := ledger.Ref{Fold: f.Name, Key: key}
			into = append(into, touch{i, ref, m.docs[ref]})
		}
	}
	return into
}

// apply folds an event into documents that are all at hand, and notes in undo how they
// were before.
func (m *memory) apply(e events.Event, touched []touch, undo *[]before) {
	for _, t := range touched {
		if t.ref.Fold == ledger.Keys.Name {
			m.known.add(t.ref.Key)
		}
		at := t.entry
		if at.position >= e.Position {
			continue // stored with this event already
		}
		if undo != nil {
			*undo = append(*undo, before{at, at.doc, at.position})
		}
		doc := at.doc
		if doc == nil {
			doc = m.folds[t.fold].Zero()
		}
		after, keep := m.folds[t.fold].Evolve(doc, t.ref.Key, e)
		if !keep {
			after = nil
		}
		at.doc, at.position, at.used = after, e.Position, m.round
	}
}

// before is how a document was before an event.
type before struct {
	entry    *entry
	doc      any
	position uint64
}

// takeBack undoes what was applied, the last first.
func (m *memory) takeBack(undo []before) {
	for _, b := range slices.Backward(undo) {
		b.entry.doc, b.entry.position = b.doc, b.position
	}
}

// install puts a fetched document into memory, unless it is there.
func (m *memory) install(ref ledger.Ref, found StoredDocument, exists bool, storedAt uint64) error {
	if _, ok := m.docs[ref]; ok {
		return nil
	}
	e := &entry{position: storedAt, used: m.round}
	if exists {
		doc, err := m.byName[ref.Fold].Decode(found.Body)
		if err != nil {
			return err
		}
		e.doc, e.position = doc, found.Position
	}
	m.keep(ref, e)
	return nil
}

// pin keeps a document that is at hand in memory until the command is settled.
func (m *memory) pin(c *waiting, ref ledger.Ref) {
	e := m.docs[ref]
	e.pins++
	c.pinned = append(c.pinned, e)
}

// unpin lets go of what a command has pinned.
func (c *waiting) unpin() {
	for _, e := range c.pinned {
		e.pins--
	}
	c.pinned = nil
}

// shrink forgets documents that are stored, until at most max are left or nothing more
// may go. What was used in the last rounds stays as long as it can; a used key, for which
// hardly anybody asks again, goes as soon as it may, and takes no other document's place. One
// that the store was asked for stays until the answer is there: it may be from before its use.
func (m *memory) shrink(max int, stored uint64, asked map[ledger.Ref][]*waiting) {
	for len(m.keys) > 0 {
		e := m.docs[m.keys[0]]
		if e != nil && (e.pins > 0 || e.position > stored || len(asked[m.keys[0]]) > 0) {
			break
		}
		delete(m.docs, m.keys[0])
		m.keys = m.keys[1:]
	}
	const (
		roundsKept   = 8
		perRoundSeen = 1000 // documents looked at, on average: some ten microseconds
	)
	if len(m.docs)-len(m.keys) <= max || m.round < m.sweep {
		return
	}
	target := max - max/8 // so that it is not done again at once
	m.sweep = m.round + 1 + uint64(len(m.docs)/perRoundSeen)
	for ref, e := range m.docs {
		if len(m.docs)-len(m.keys) <= target {
			return
		}
		if ref.Fold != ledger.Keys.Name && e.pins == 0 && e.position <= stored && e.used+roundsKept < m.round {
			delete(m.docs, ref)
		}
	}
}

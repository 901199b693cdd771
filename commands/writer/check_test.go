package writer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/ledger/ledgertest"
)

// check compares all that was answered, and all that is in memory, with the log.
func (m *model) check() {
	records := m.records()
	state := ledgertest.NewState()
	keys := map[string]uint64{}
	var last time.Time
	m.checkRefusals(state, 0)
	for _, r := range records {
		if at := keys[r.Key]; at != 0 {
			m.t.Errorf("the key %s stands at %d and %d", r.Key, at, r.Position)
		}
		keys[r.Key] = r.Position
		if r.Time.Before(last) {
			m.t.Errorf("event %d is at %v, after one at %v", r.Position, r.Time, last)
		}
		last = r.Time
		m.checkDecision(state, r)
		state.Apply(r.Event)
		m.checkAccounts(state, r)
		m.checkRefusals(state, r.Position)
	}
	m.checkAnswers(records)
	for _, s := range m.seats {
		m.checkMemory(s.w, records)
	}
}

func (m *model) records() []events.Record {
	var records []events.Record
	for {
		more, err := m.log.ReadRange(context.Background(), uint64(len(records)), 1000)
		if err != nil {
			m.t.Fatal(err)
		}
		if len(more) == 0 {
			return records
		}
		records = append(records, more...)
	}
}

// wishOf is the wish that an event came from: each has an actor of its own.
func (m *model) wishOf(e events.Event) *wish {
	for _, a := range m.asked {
		if a.wish.Actor == e.Actor {
			return a.wish
		}
	}
	m.t.Fatalf("event %d is nobody's wish: %+v", e.Position, e)
	return nil
}

// checkDecision holds an event to what its wish comes to on all that was before it.
func (m *model) checkDecision(before *ledgertest.State, r events.Record) {
	w := m.wishOf(r.Event)
	payload, moves, err := w.Decide(ledger.NewTx(r.Time, before))
	if err != nil {
		m.t.Errorf("event %d (%s) must not have happened: %v", r.Position, w.name, err)
		return
	}
	want := events.Event{
		Position: r.Position, Key: w.Key, Time: r.Time, Effective: r.Time, Actor: w.Actor, Cause: w.Cause,
		Request: w.Request, Moves: moves, Data: payload,
	}
	if !w.Effective.IsZero() {
		want.Effective = w.Effective
	}
	body, err := m.codec.Encode(want)
	if err != nil || !bytes.Equal(body, r.Body) {
		m.t.Errorf("event %d (%s) is\n%s\nwant\n%s (%v)", r.Position, w.name, r.Body, body, err)
	}
}

func (m *model) checkAccounts(state *ledgertest.State, r events.Record) {
	for _, user := range ledger.Accounts.Keys(r.Event) {
		doc, _ := state.Document(ledger.Ref{Fold: ledger.Accounts.Name, Key: user})
		account, _ := doc.(ledger.Account)
		if account.Available(r.Time) < 0 || account.Paid(r.Time) < 0 || account.Promotional(r.Time) < 0 {
			m.t.Errorf("after event %d %s has %+v", r.Position, user, account)
		}
	}
}

// checkRefusals looks for a moment at which each refusal was right: after all that was
// acknowledged before it was asked for, and before the log's end when it was answered.
func (m *model) checkRefusals(state *ledgertest.State, position uint64) {
	for _, a := range m.asked {
		var refused *ledger.Refusal
		if a.err == nil || !a.wish.timeless || !errors.As(a.err, &refused) ||
			isWriters(a.err) || errors.Is(a.err, ErrStopping) {
			continue
		}
		if !a.wish.rightly && a.from <= position && position <= a.to {
			_, _, err := a.wish.Decide(ledger.NewTx(morning, state))
			a.wish.rightly = errors.Is(err, refused)
		}
		if position >= a.to && !a.wish.rightly {
			m.t.Errorf("%s was refused with %v between %d and %d", a.wish.name, a.err, a.from, a.to)
			a.wish.rightly = true
		}
	}
}

// isWriters tells the writer's own refusals, which rest on no document.
func isWriters(err error) bool {
	for _, own := range []error{ErrOverloaded, ErrKeyReused, ErrKeyBusy, ledger.ErrUnavailable} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

func (m *model) checkAnswers(records []events.Record) {
	made := map[events.Actor]events.Record{}
	first := map[string]events.Record{}
	for _, r := range records {
		made[r.Actor] = r
		first[r.Key] = r
	}
	mayHaveHappened := map[*wish]bool{} // some were asked for again after a refusal
	for _, a := range m.asked {
		var refused *ledger.Refusal
		if !errors.As(a.err, &refused) || errors.Is(a.err, ErrStopping) || errors.Is(a.err, ledger.ErrUnavailable) {
			mayHaveHappened[a.wish] = true
		}
	}
	fresh := map[string]int{}
	for _, a := range m.asked {
		r, happened := made[a.wish.Actor]
		byKey, used := first[a.wish.Key]
		switch {
		case a.err == nil && !a.done.Replayed:
			if fresh[a.wish.Key]++; fresh[a.wish.Key] > 1 {
				m.t.Errorf("the key %s was new twice", a.wish.Key)
			}
			m.checkAnswer(a, r)
		case a.err == nil:
			m.checkAnswer(a, byKey)
			if a.wish.Request != nil && byKey.Request != nil && !bytes.Equal(a.wish.Request, byKey.Request) {
				m.t.Errorf("%s got the answer to another request", a.wish.name)
			}
		case errors.Is(a.err, ErrKeyReused):
			if !used || bytes.Equal(a.wish.Request, byKey.Request) {
				m.t.Errorf("%s was refused as another request", a.wish.name)
			}
		case happened && !mayHaveHappened[a.wish]:
			m.t.Errorf("%s was refused with %v and is event %d", a.wish.name, a.err, r.Position)
		}
	}
}

func (m *model) checkAnswer(a *asked, r events.Record) {
	body, err := m.codec.Encode(a.done.Event)
	if err != nil || a.done.Event.Position != r.Position || !bytes.Equal(body, r.Body) {
		m.t.Errorf("%s was answered with %+v\nand the log has %+v (%v)", a.wish.name, a.done, r.Event, err)
	}
}

// checkMemory compares a writer's documents with a plain fold of what it has read.
func (m *model) checkMemory(w *Writer, records []events.Record) {
	state := ledgertest.NewState()
	for _, r := range records[:w.Last()] {
		state.Apply(r.Event)
	}
	for ref, e := range w.memory.docs {
		if e.pins != 0 {
			m.t.Errorf("%s/%s is pinned by nobody", ref.Fold, ref.Key)
		}
		if e.position > w.Last() {
			continue // of another writer, which this one has not read yet
		}
		want, exists := state.Documents()[ref]
		if got := e.doc; (got != nil) != exists || exists && string(m.json(got)) != string(m.json(want)) {
			m.t.Errorf("%s/%s at %d is\n%s\nwant\n%s", ref.Fold, ref.Key, e.position, m.json(got), m.json(want))
		}
	}
}

func (m *model) json(doc any) []byte {
	if doc == nil {
		return []byte("nothing")
	}
	body, err := json.Marshal(doc)
	if err != nil {
		m.t.Fatal(err)
	}
	return body
}

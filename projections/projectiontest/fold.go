// Package projectiontest compares what is stored of views with a fold of the log that
// is as plain as can be: one event after the other, in memory.
package projectiontest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"truebond/events"
	"truebond/projections"
)

// Documents are documents by `<view> <id>`, each as its position and its JSON.
type Documents map[string]string

// Fold is what follows from a history.
func Fold(views []projections.View, history []events.Event) (Documents, error) {
	docs := Documents{}
	for _, v := range views {
		if err := docs.fold(v, history); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// fold adds what follows of one view. An event counts once for a document, however
// often Keys names it.
func (docs Documents) fold(v projections.View, history []events.Event) error {
	states := map[string]any{}
	positions := map[string]uint64{}
	for _, e := range history {
		for _, id := range v.Keys(e) {
			if positions[id] == e.Position {
				continue
			}
			positions[id] = e.Position
			before, exists := states[id]
			if !exists {
				before = v.Zero()
			}
			after, keep := v.Evolve(before, id, e)
			if keep {
				states[id] = after
			} else {
				delete(states, id)
			}
		}
	}
	for id, doc := range states {
		body, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", v.Name, id, err)
		}
		if err := docs.put(v, projections.Document{ID: id, Position: positions[id], Body: body}); err != nil {
			return err
		}
	}
	return nil
}

// Stored is what readers of the views find.
func Stored(ctx context.Context, store projections.Store, views []projections.View) (Documents, error) {
	reader := projections.NewReader(store)
	docs := Documents{}
	for _, v := range views {
		q := projections.Query{Limit: projections.PageMax}
		for {
			page, err := reader.Find(ctx, v.Name, q)
			if err != nil {
				return nil, err
			}
			for _, d := range page {
				if err := docs.put(v, d); err != nil {
					return nil, err
				}
			}
			if len(page) < q.Limit {
				break
			}
			q.After = &projections.Cursor{ID: page[len(page)-1].ID}
		}
	}
	return docs, nil
}

// put notes a document as its view's program reads it, since stores may change the order
// of fields.
func (docs Documents) put(v projections.View, d projections.Document) error {
	doc, err := v.Decode(d.Body)
	if err != nil {
		return fmt.Errorf("read %s %s: %w", v.Name, d.ID, err)
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", v.Name, d.ID, err)
	}
	docs[v.Name+" "+d.ID] = fmt.Sprintf("at %d: %s", d.Position, body)
	return nil
}

// Differences says how what is stored differs from what follows from a history, a
// line a document. Nothing else may be written meanwhile.
func Differences(
	ctx context.Context, store projections.Store, views []projections.View, history []events.Event,
) ([]string, error) {
	want, err := Fold(views, history)
	if err != nil {
		return nil, err
	}
	got, err := Stored(ctx, store, views)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if stored, ok := got[name]; !ok {
			lines = append(lines, name+" is not stored")
		} else if stored != want[name] {
			lines = append(lines, fmt.Sprintf("%s is stored %s, and follows %s", name, stored, want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			lines = append(lines, name+" is stored, and should not be")
		}
	}
	return lines, nil
}

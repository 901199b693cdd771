package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"truebond/events"
	"truebond/projections"
)

// viewsEqualFold holds every document of every view against a plain fold of the log.
func viewsEqualFold(t *testing.T, s *server, history []events.Event) {
	t.Helper()
	reader := projections.NewReader(s.store)
	for _, v := range projections.Catalogue() {
		want := foldPlainly(v, history)
		stored := map[string]any{}
		q := projections.Query{Limit: projections.PageMax}
		for {
			docs, err := reader.Find(t.Context(), v.Name, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs {
				stored[d.ID] = decoded(t, d.Body)
				q.After = &projections.Cursor{ID: d.ID}
			}
			if len(docs) < q.Limit {
				break
			}
		}
		if len(stored) != len(want) {
			t.Errorf("view %s has %d documents, its fold %d", v.Name, len(stored), len(want))
		}
		for id, doc := range want {
			body, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if plain := decoded(t, body); !reflect.DeepEqual(stored[id], plain) {
				t.Errorf("view %s, document %s:\nstored %v\nfolded %v", v.Name, id, stored[id], plain)
			}
		}
	}
}

func foldPlainly(v projections.View, history []events.Event) map[string]any {
	docs := map[string]any{}
	for _, e := range history {
		for _, key := range v.Keys(e) {
			doc, ok := docs[key]
			if !ok {
				doc = v.Zero()
			}
			after, keep := v.Evolve(doc, key, e)
			if keep {
				docs[key] = after
			} else {
				delete(docs, key)
			}
		}
	}
	return docs
}

// decoded is JSON with its numbers as they are written.
func decoded(t *testing.T, body []byte) any {
	t.Helper()
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(fmt.Errorf("read %s: %w", body, err))
	}
	return doc
}

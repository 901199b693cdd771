package storetest

import (
	"cmp"
	"encoding/json"
	"slices"

	"pgregory.net/rapid"

	"truebond/projections"
)

// A thing is a document for the plain search: fields that are there or not.
type thing struct {
	Text   *string   `json:"text,omitempty"`
	Number *int64    `json:"number"` // null when it is not there
	Flag   *bool     `json:"flag,omitempty"`
	List   []*string `json:"list,omitempty"`
}

// plainIndexes are the indexes of things, and the values that a thing has in each: none
// when it is not in it. The first of an Each index is left to the search.
var plainIndexes = []struct {
	projections.Index
	values func(thing) []any
}{
	{projections.Index{Name: "text", Fields: []string{"text"}}, func(d thing) []any { return present(d.Text) }},
	{projections.Index{Name: "number", Fields: []string{"number", "text"}}, func(d thing) []any {
		return all(present(d.Number), present(d.Text))
	}},
	{projections.Index{Name: "flag", Fields: []string{"flag", "text", "number"}}, func(d thing) []any {
		return all(present(d.Flag), present(d.Text), present(d.Number))
	}},
	{projections.Index{Name: "list", Fields: []string{"list"}, Each: true}, nil},
	{
		projections.Index{Name: "list_number", Fields: []string{"list", "number"}, Each: true},
		func(d thing) []any { return present(d.Number) },
	},
}

func present[V any](v *V) []any {
	if v == nil {
		return nil
	}
	return []any{*v}
}

func all(values ...[]any) []any {
	for _, v := range values {
		if len(v) == 0 {
			return nil
		}
	}
	return slices.Concat(values...)
}

// likePlainSearch compares a store with a search through all documents.
func likePlainSearch(w *world) {
	var indexes []projections.Index
	for _, x := range plainIndexes {
		indexes = append(indexes, x.Index)
	}
	table := w.table(1, indexes...)
	stored := map[string]thing{}
	rapid.Check(w.T, func(t *rapid.T) {
		wanted := rapid.MapOfN(drawID, drawThing, 0, 12).Draw(t, "things")
		var changes []change
		for id := range stored {
			if _, ok := wanted[id]; !ok {
				changes = append(changes, change{id, ""})
			}
		}
		for id, d := range wanted {
			body, err := json.Marshal(d)
			w.must(err)
			changes = append(changes, change{id, string(body)})
		}
		w.write(table, changes...)
		stored = wanted
		for range 10 {
			q := drawQuery(t)
			got := ids(w.docs(table, q))
			if want := plainFind(wanted, q); !slices.Equal(got, want) {
				t.Fatalf("%+v after %+v finds %q, not %q", q, q.After, got, want)
			}
		}
	})
}

var (
	// Few values, so that there are ties.
	drawText   = rapid.SampledFrom([]string{"", "a", "A", "ab", "a\x00", "á", "b", "$a", "{}"})
	drawNumber = rapid.SampledFrom([]int64{-1 << 63, -1, 0, 1, 1 << 53, 1<<53 + 1, 1<<63 - 1})
	drawID     = rapid.StringMatching(`[abAé.$/]{1,2}`)
	drawThing  = rapid.Custom(func(t *rapid.T) thing {
		return thing{
			Text: rapid.Ptr(drawText, true).Draw(t, "text"), Number: rapid.Ptr(drawNumber, true).Draw(t, "number"),
			Flag: rapid.Ptr(rapid.Bool(), true).Draw(t, "flag"),
			List: rapid.SliceOfN(rapid.Ptr(drawText, true), 0, 4).Draw(t, "list"),
		}
	})
)

// drawValue draws a value of a field; the id is the field without a name.
func drawValue(t *rapid.T, field string) any {
	switch field {
	case "":
		return drawID.Draw(t, "id")
	case "number":
		return drawNumber.Draw(t, "value")
	case "flag":
		return rapid.Bool().Draw(t, "value")
	}
	return drawText.Draw(t, "value")
}

func drawQuery(t *rapid.T) projections.Query {
	var x projections.Index
	if i := rapid.IntRange(-1, len(plainIndexes)-1).Draw(t, "index"); i >= 0 {
		x = plainIndexes[i].Index
	}
	q := projections.Query{
		Index: x.Name, Desc: rapid.Bool().Draw(t, "desc"), Limit: rapid.IntRange(1, 15).Draw(t, "limit"),
	}
	fixedMin := 0
	if x.Each {
		fixedMin = 1
	}
	fixed := rapid.IntRange(fixedMin, len(x.Fields)).Draw(t, "fixed")
	for _, field := range x.Fields[:fixed] {
		q.Equal = append(q.Equal, drawValue(t, field))
	}
	free := append(slices.Clone(x.Fields[fixed:]), "")
	if rapid.Bool().Draw(t, "from") {
		q.Range.From = drawValue(t, free[0])
	}
	if rapid.Bool().Draw(t, "until") {
		q.Range.Until = drawValue(t, free[0])
	}
	if rapid.Bool().Draw(t, "after") {
		q.After = &projections.Cursor{ID: drawID.Draw(t, "cursor")}
		for _, field := range free[:len(free)-1] {
			q.After.Values = append(q.After.Values, drawValue(t, field))
		}
	}
	return q
}

// plainFind finds what a query asks for among all things.
func plainFind(things map[string]thing, q projections.Query) []string {
	var entries [][]any // the values that order them, the id last
	for id, d := range things {
		for _, entry := range plainEntries(d, q.Index) {
			entry = append(entry, id)
			n := len(q.Equal)
			if compare(entry[:n], q.Equal) == 0 && plainFits(entry[n:], q) {
				entries = append(entries, entry[n:])
			}
		}
	}
	slices.SortFunc(entries, compare)
	if q.Desc {
		slices.Reverse(entries)
	}
	found := []string{}
	for _, entry := range entries[:min(q.Limit, len(entries))] {
		found = append(found, entry[len(entry)-1].(string))
	}
	return found
}

func plainFits(entry []any, q projections.Query) bool {
	if q.Range.From != nil && compare(entry[:1], []any{q.Range.From}) < 0 ||
		q.Range.Until != nil && compare(entry[:1], []any{q.Range.Until}) >= 0 {
		return false
	}
	if q.After == nil {
		return true
	}
	order := compare(entry, append(slices.Clone(q.After.Values), q.After.ID))
	return order > 0 && !q.Desc || order < 0 && q.Desc
}

// plainEntries is how a thing stands in an index: once, or once for each element.
func plainEntries(d thing, index string) [][]any {
	if index == "" {
		return [][]any{nil}
	}
	at := slices.IndexFunc(plainIndexes, func(x struct {
		projections.Index
		values func(thing) []any
	}) bool {
		return x.Name == index
	})
	x := plainIndexes[at]
	var rest []any
	if x.values != nil {
		if rest = x.values(d); rest == nil {
			return nil
		}
	}
	if !x.Each {
		return [][]any{rest}
	}
	var entries [][]any
	seen := map[string]bool{}
	for _, element := range d.List {
		if element != nil && !seen[*element] {
			seen[*element] = true
			entries = append(entries, append([]any{*element}, rest...))
		}
	}
	return entries
}

func compare(a, b []any) int {
	return slices.CompareFunc(a, b, func(x, y any) int {
		switch x := x.(type) {
		case string:
			return cmp.Compare(x, y.(string))
		case int64:
			return cmp.Compare(x, y.(int64))
		}
		switch x {
		case y:
			return 0
		case false:
			return -1
		}
		return 1
	})
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"truebond/projections"
)

var writeRules = []rule{
	{"a batch moves all its tables, whether or not a document changed", batchMoves},
	{"a stale batch and one after a gap are refused whole", moved},
	{"a batch that cannot be is refused whole", badBatches},
	{"documents are put, replaced and deleted", putAndDelete},
	{"indexes follow what is replaced and deleted", indexesFollow},
	{"the documents of a large batch are all there", largeBatch},
	{"a write that was called off leaves the store well", calledOff},
	{"get gives each document once, by id, and leaves out what is not there", getMany},
}

func batchMoves(w *world) {
	first, second, beside := w.table(1), w.table(2), w.table(3)
	w.must(w.store.Write(w.ctx, projections.Batch{
		Tables: []string{first, second}, From: 0, To: 7, Hash: hash(7),
		Writes: []projections.Write{{Table: first, Document: projections.Document{
			ID: "a", Position: 5, Body: []byte(`{"n":1}`),
		}}},
	}))
	for _, table := range []string{first, second} {
		w.is("the position", w.progress(table).Position, uint64(7))
		w.is("the hash", w.progress(table).Hash, hash(7))
	}
	w.is("the position of a table beside", w.progress(beside).Position, uint64(0))
	w.is("the document's position", w.docs(first, projections.Query{})[0].Position, uint64(5))
	w.must(w.store.Write(w.ctx, projections.Batch{Tables: []string{beside}, To: math.MaxInt64, Hash: hash(1)}))
	w.is("the greatest position", w.progress(beside).Position, uint64(math.MaxInt64))
}

func moved(w *world) {
	first, second := w.table(1), w.table(2)
	w.write(first, change{"a", `{"n":1}`})
	w.write(first, change{"a", `{"n":2}`})
	for name, from := range map[string]uint64{"again": 1, "from the beginning": 0, "after a gap": 3} {
		err := w.store.Write(w.ctx, projections.Batch{
			Tables: []string{first}, From: from, To: from + 1, Hash: hash(9),
			Writes: []projections.Write{{Table: first, Document: projections.Document{
				ID: "a", Position: from + 1, Body: []byte(`{"n":3}`),
			}}},
		})
		if !errors.Is(err, projections.ErrMoved) {
			w.Errorf("a batch %s: %v", name, err)
		}
	}
	// One of the tables is where the batch begins, the other is not.
	for _, tables := range [][]string{{first, second}, {second, first}} {
		err := w.store.Write(w.ctx, projections.Batch{
			Tables: tables, From: 2, To: 3, Hash: hash(9),
			Writes: []projections.Write{{Table: first, Document: projections.Document{
				ID: "a", Position: 3, Body: []byte(`{"n":3}`),
			}}},
		})
		if !errors.Is(err, projections.ErrMoved) {
			w.Errorf("a batch for tables that are apart: %v", err)
		}
	}
	w.isJSON("the document", w.get(first, "a"), `{"n":2}`)
	w.is("the position", w.progress(first).Position, uint64(2))
	w.is("the hash", w.progress(first).Hash, hash(2))
	w.is("the other position", w.progress(second).Position, uint64(0))
}

func badBatches(w *world) {
	table := w.table(1, byName)
	good := change{"good", `{"name":"x"}`}
	bad := map[string]func(*projections.Batch){
		"without tables":            func(b *projections.Batch) { b.Tables, b.Writes = nil, nil },
		"to where it begins":        func(b *projections.Batch) { b.To = b.From },
		"beyond 63 bits":            func(b *projections.Batch) { b.To = math.MaxInt64 + 1 },
		"with a table twice":        func(b *projections.Batch) { b.Tables = append(b.Tables, table) },
		"for another table":         func(b *projections.Batch) { b.Writes[1].Table = "never_1_1" },
		"with a document twice":     func(b *projections.Batch) { b.Writes[1].ID = b.Writes[0].ID },
		"with a document before it": func(b *projections.Batch) { b.Writes[1].Position = b.From },
		"with a document behind it": func(b *projections.Batch) { b.Writes[1].Position = b.To + 1 },
	}
	for name, id := range map[string]string{
		"no": "", "a long": strings.Repeat("a", projections.IDBytesMax+1),
		"a torn": "\xff", "a NUL in the": "a\x00b",
	} {
		bad["with "+name+" id"] = func(b *projections.Batch) { b.Writes[1].ID = id }
	}
	for name, body := range map[string]string{
		"nothing": "", "an array": "[]", "a null": "null", "a number": "1",
		"half": `{"a":`, "two": `{}{}`, "words": "no",
		"too much": `{"a":"` + strings.Repeat("x", projections.BodyBytesMax) + `"}`,
	} {
		bad["with "+name+" for a document"] = func(b *projections.Batch) { b.Writes[1].Body = []byte(body) }
	}
	for name, spoil := range bad {
		b := w.batch(table, good, change{"bad", `{"name":"x"}`})
		spoil(&b)
		if err := w.store.Write(w.ctx, b); err == nil {
			w.Errorf("a batch %s was taken", name)
		}
	}
	w.is("the position", w.progress(table).Position, uint64(0))
	w.is("what is stored", w.find(table, projections.Query{}), []string{})
	w.write(table, good)
}

func putAndDelete(w *world) {
	table := w.table(1)
	w.write(table, change{"a", `{"n":1,"old":true}`}, change{"b", `{"n":1}`})
	w.write(table, change{"a", `{"n":2}`}, change{"never", ""})
	w.isJSON("the replaced document", w.get(table, "a"), `{"n":2}`)
	w.isJSON("the untouched document", w.get(table, "b"), `{"n":1}`)
	docs := w.docs(table, projections.Query{})
	w.is("their positions", []uint64{docs[0].Position, docs[1].Position}, []uint64{2, 1})
	w.write(table, change{"a", ""})
	w.is("the deleted document", w.get(table, "a"), "")
	w.is("what is left", w.find(table, projections.Query{}), []string{"b"})
	w.write(table, change{"a", `{}`})
	w.isJSON("the document put again", w.get(table, "a"), `{}`)
}

func indexesFollow(w *world) {
	table := w.table(1, byName, byTag, byTagAge)
	found := func() map[string][]string {
		all := map[string][]string{}
		for _, value := range []string{"x", "y", "z"} {
			for _, index := range []string{"name", "tag", "tag_age"} {
				all[index+" "+value] = w.find(table, by(index, value))
			}
		}
		return all
	}
	none, a, b, both := []string{}, []string{"a"}, []string{"b"}, []string{"b", "a"}
	w.write(table, change{"a", `{"name":"x","tags":["x","y","x"],"age":2}`},
		change{"b", `{"tags":["y"],"age":1}`})
	w.is("what is found", found(), map[string][]string{
		"name x": a, "tag x": a, "tag_age x": a, "name y": none, "tag y": {"a", "b"}, "tag_age y": both,
		"name z": none, "tag z": none, "tag_age z": none,
	})
	w.write(table, change{"a", `{"name":"z","tags":["z","y"],"age":0}`},
		change{"b", `{"name":"y","tags":["y"]}`})
	w.is("what is found after a change", found(), map[string][]string{
		"name x": none, "tag x": none, "tag_age x": none, "name y": b, "tag y": {"a", "b"}, "tag_age y": a,
		"name z": a, "tag z": a, "tag_age z": a,
	})
	w.write(table, change{"a", ""}, change{"b", `{"tags":[]}`})
	for what, ids := range found() {
		w.is("what is found by "+what+" in the end", ids, none)
	}
}

func largeBatch(w *world) {
	const documents = 5000
	table, other := w.table(1, byName), w.table(2)
	b := w.batch(table)
	b.Tables = append(b.Tables, other)
	var wanted []string
	for i := range documents {
		id := fmt.Sprintf("doc/%05d", i)
		wanted = append(wanted, id)
		for _, in := range b.Tables {
			b.Writes = append(b.Writes, projections.Write{Table: in, Document: projections.Document{
				ID: id, Position: 1, Body: fmt.Appendf(nil, `{"name":"%d","n":%d}`, i%10, i),
			}})
		}
	}
	w.must(w.store.Write(w.ctx, b))
	for _, in := range b.Tables {
		docs, err := w.store.Get(w.ctx, in, wanted)
		w.must(err)
		w.is("the ids", ids(docs), wanted)
		w.isJSON("the last document", string(docs[documents-1].Body), `{"name":"9","n":4999}`)
	}
	w.is("found by an index", len(w.find(table, by("name", "3"))), documents/10)
}

func calledOff(w *world) {
	table := w.table(1)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := w.store.Write(ctx, w.batch(table, change{"a", `{}`})); !errors.Is(err, context.Canceled) {
		w.Fatalf("a write that was called off: %v", err)
	}
	if _, err := w.store.Get(ctx, table, []string{"a"}); !errors.Is(err, context.Canceled) {
		w.Fatalf("a read that was called off: %v", err)
	}
	w.is("the position", w.progress(table).Position, uint64(0))
	w.write(table, change{"a", `{"n":1}`})
	w.isJSON("the document", w.get(table, "a"), `{"n":1}`)
}

func getMany(w *world) {
	table := w.table(1)
	w.write(table, change{"b", `{"n":2}`}, change{"a", `{"n":1}`}, change{"\uFFFD", `{"n":3}`})
	docs, err := w.store.Get(w.ctx, table, []string{"never", "b", "a", "", "b", "\xff", "a\x00"})
	w.must(err)
	w.is("the ids", ids(docs), []string{"a", "b"})
	for _, none := range [][]string{nil, {""}, {"\xff"}, {"never"}} {
		docs, err := w.store.Get(w.ctx, table, none)
		w.must(err)
		w.is("the ids", ids(docs), []string{})
	}
}

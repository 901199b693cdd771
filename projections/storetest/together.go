package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"truebond/projections"
)

var togetherRules = []rule{
	{"a reader sees all of a batch or nothing of it", allOrNothing},
	{"of two writers at one position one wins, and the other has written nothing", oneWriter},
	{"what was written is read at once", readYourWrites},
	{"readers go on while tables swap", readWhileSwapping},
}

func allOrNothing(w *world) {
	const documents, rounds, readers = 1000, 6, 1
	table := w.table(1, byName, byTagAge)
	var wanted []string
	turn := func(n int) []change {
		var changes []change
		for _, id := range wanted {
			changes = append(changes, change{id, fmt.Sprintf(`{"name":"x","n":%d,"tags":["t"],"age":%d}`, n, n%2)})
		}
		return changes
	}
	for i := range documents {
		wanted = append(wanted, fmt.Sprintf("%03d", i))
	}
	w.write(table, turn(0)...)
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	var reading sync.WaitGroup
	var read atomic.Int64
	look := map[string]func(int) ([]projections.Document, error){
		"got": func(int) ([]projections.Document, error) { return w.store.Get(ctx, table, wanted) },
		"found": func(int) ([]projections.Document, error) {
			return w.store.Find(ctx, table, projections.Query{Index: "name", Equal: []any{"x"}, Limit: 1000})
		},
		"found by element": func(n int) ([]projections.Document, error) {
			q := by("tag_age", "t")
			q.Limit, q.Desc = 1000, n%2 == 0
			return w.store.Find(ctx, table, q)
		},
	}
	for range readers {
		for how, look := range look {
			reading.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					docs, err := look(n)
					if ctx.Err() != nil {
						return
					}
					if err != nil {
						w.Errorf("%s: %v", how, err)
						return
					}
					if !w.whole(docs, documents) {
						w.Errorf("%s: part of a batch", how)
						return
					}
					read.Add(1)
				}
			})
		}
	}
	for n := range rounds {
		w.write(table, turn(n+1)...)
	}
	for seen := read.Load(); read.Load() < seen+readers && !w.Failed(); { // the last batch is read as well
		_, err := w.store.Tables(w.ctx)
		w.must(err)
	}
	cancel()
	reading.Wait()
}

// whole tells whether these are all documents of one batch.
func (w *world) whole(docs []projections.Document, count int) bool {
	for _, d := range docs {
		if d.Position != docs[0].Position {
			return false
		}
	}
	return len(docs) == count
}

func oneWriter(w *world) {
	const rounds, writers = 10, 4
	table, log := w.table(1), w.table(2)
	stores := []projections.Store{w.store, w.open(), w.open(), w.store}
	for round := range uint64(rounds) {
		var winner atomic.Int64
		var wins atomic.Int64
		var racing sync.WaitGroup
		for i := range writers {
			racing.Go(func() {
				err := stores[i].Write(w.ctx, projections.Batch{
					Tables: []string{table, log}, From: round, To: round + 1, Hash: hash(uint64(i)),
					Writes: []projections.Write{
						{Table: table, Document: projections.Document{
							ID: "last", Position: round + 1, Body: fmt.Appendf(nil, `{"by":%d}`, i),
						}},
						{Table: log, Document: projections.Document{
							ID: fmt.Sprintf("%d by %d", round, i), Position: round + 1, Body: []byte(`{}`),
						}},
					},
				})
				switch {
				case err == nil:
					winner.Store(int64(i))
					wins.Add(1)
				case !errors.Is(err, projections.ErrMoved):
					w.Errorf("the writer that lost: %v", err)
				}
			})
		}
		racing.Wait()
		w.is("the number of winners", wins.Load(), int64(1))
		w.isJSON("the document", w.get(table, "last"), fmt.Sprintf(`{"by":%d}`, winner.Load()))
		w.is("the hash", w.progress(table).Hash, hash(uint64(winner.Load())))
		w.is("the documents of all rounds", len(w.find(log, projections.Query{})), int(round)+1)
	}
}

func readYourWrites(w *world) {
	const rounds = 30
	table := w.table(1, byName)
	other := w.on(w.open())
	for n := range rounds {
		name := fmt.Sprint(n)
		w.write(table, change{"a", `{"name":"` + name + `"}`}, change{"b", `{"name":"` + name + `"}`})
		for _, reader := range []*world{w, other} {
			w.is("found", reader.find(table, by("name", name)), []string{"a", "b"})
			w.isJSON("got", reader.get(table, "a"), `{"name":"`+name+`"}`)
			docs, err := reader.store.Get(w.ctx, table, []string{"a", "b"})
			w.must(err)
			w.is("the positions", []uint64{docs[0].Position, docs[1].Position}, []uint64{uint64(n) + 1, uint64(n) + 1})
		}
	}
}

func readWhileSwapping(w *world) {
	const builds, readers = 6, 3
	build := func(n int) string {
		table := w.table(n, byName)
		w.write(table, change{"a", `{"name":"x"}`}, change{"b", `{"name":"x"}`})
		return table
	}
	w.must(w.store.GoLive(w.ctx, build(1)))
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				all, err := w.store.Tables(w.ctx)
				if err != nil {
					w.Errorf("list the tables: %v", err)
					return
				}
				for _, t := range all {
					q := projections.Query{Index: "name", Equal: []any{"x"}, Limit: 10}
					docs, err := w.store.Find(w.ctx, t.Name, q)
					switch {
					case errors.Is(err, projections.ErrNoTable) || !t.Live:
					case err != nil:
						w.Errorf("find: %v", err)
					case len(docs) != 2:
						w.Errorf("the live table has %d documents", len(docs))
					}
				}
			}
		})
	}
	for n := range builds {
		w.must(w.store.GoLive(w.ctx, build(n+2)))
	}
	close(done)
	reading.Wait()
	w.is("the list of tables", w.names(), []string{fmt.Sprintf("things_1_%d", builds+1)})
}

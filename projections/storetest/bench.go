package storetest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"truebond/projections"
)

// BenchmarkWrite measures events a second, written in batches of a thousand that are like
// the ledger's: each event puts an audit entry (three indexes, and one by the elements of
// a list of four), a key and a line of history, and changes one of 10,000 accounts and a
// conversation.
func BenchmarkWrite(b *testing.B, store projections.Store) {
	const batchEvents = 1000
	names := createTypical(b, store)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same load in each run
	position := uint64(0)
	for b.Loop() {
		b.StopTimer()
		batch := typicalBatch(random, names, position, batchEvents)
		position = batch.To
		b.StartTimer()
		if err := store.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*batchEvents)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op") // of a batch: not what anybody asks for
}

// createTypical makes the tables that a typical batch goes to.
func createTypical(b *testing.B, store projections.Store) (names []string) {
	b.Helper()
	tables := map[string][]projections.Index{
		"audit_1_1": {
			{Name: "type", Fields: []string{"type"}}, {Name: "actor", Fields: []string{"actor"}},
			{Name: "at", Fields: []string{"at"}}, {Name: "account", Fields: []string{"accounts"}, Each: true},
		},
		"keys_1_1": nil, "history_1_1": nil, "accounts_1_1": nil,
		"conversations_1_1": {{Name: "user", Fields: []string{"user", "last"}}},
	}
	for name, indexes := range tables {
		names = append(names, name)
		t := projections.Table{Name: name, View: name, Version: 1, Indexes: indexes}
		if err := store.Create(b.Context(), t); err != nil {
			b.Fatal(err)
		}
	}
	return names
}

func typicalBatch(random *rand.Rand, tables []string, from uint64, events int) projections.Batch {
	b := projections.Batch{Tables: tables, From: from, To: from + uint64(events), Hash: hash(from)}
	last := map[[2]string]int{} // where a document of the batch stands
	put := func(table, id string, position uint64, body string, values ...any) {
		w := projections.Write{Table: table, Document: projections.Document{
			ID: id, Position: position, Body: fmt.Appendf(nil, body, values...),
		}}
		if at, again := last[[2]string{table, id}]; again {
			b.Writes[at] = w
			return
		}
		last[[2]string{table, id}] = len(b.Writes)
		b.Writes = append(b.Writes, w)
	}
	for n := from + 1; n <= b.To; n++ {
		user, partner := fmt.Sprintf("usr_%08d", random.IntN(10_000)), fmt.Sprintf("usr_%08d", random.IntN(10_000))
		key := sha256.Sum256([]byte(user + partner))
		at := 1_700_000_000_000 + n
		put("audit_1_1", fmt.Sprintf("%020d", n), n, `{"position":%d,"key":"api/%s/%x","type":"type.%d",`+
			`"actor":"user/%s","at":%d,"effective":%d,"subjects":["%s","%s"],`+
			`"accounts":["user/%s/lot","spent/paid/messages","deferred/%s/lot","revenue/messages"],`+
			`"moves":[{"from":"user/%s/lot","to":"spent/paid/messages","asset":"credit","amount":1},`+
			`{"from":"deferred/%s","to":"revenue/messages","asset":"INR","amount":100}],`+
			`"data":{"id":"msg_%d","body":"sealed:%x"}}`,
			n, user, key[:16], n%30, user, at, at, user, partner, user, user, user, user, n, key)
		put("keys_1_1", fmt.Sprintf("api/%s/%x", user, key[:16]), n, `{"position":%d,"request":"%x"}`, n, key)
		put("history_1_1", fmt.Sprintf("%s/%020d", user, n), n, `{"position":%d,"type":"message.sent",`+
			`"credits":-1,"available":%d,"reason":"message","key":"api/%s/%x","at":%d}`, n, n%300, user, key[:16], at)
		put("accounts_1_1", user, n, `{"lots":[{"id":"lot1","kind":"paid","remaining":%d,"granted":300,`+
			`"cost":20000,"currency":"INR"},{"id":"lot2","kind":"promotional","remaining":3,"granted":10}],`+
			`"debt":0,"held":0}`, n%300)
		put("conversations_1_1", user+"/"+partner, n, `{"user":"%s","partner":"%s","last":%d,"unread":3}`,
			user, partner, n)
	}
	return b
}

// BenchmarkRead measures what is read one after the other from 30,000 events' documents: one by its id
// (as the writer does with a key, and as most queries begin), and twenty by an index.
func BenchmarkRead(b *testing.B, store projections.Store) {
	const batches, batchEvents, page = 30, 1000, 20
	names := createTypical(b, store)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same load in each run
	var keys, users []string
	for i := range batches {
		batch := typicalBatch(random, names, uint64(i*batchEvents), batchEvents)
		if err := store.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		for _, w := range batch.Writes {
			switch w.Table {
			case "keys_1_1":
				keys = append(keys, w.ID)
			case "accounts_1_1":
				users = append(users, w.ID)
			}
		}
	}
	b.Run("one by its id", func(b *testing.B) {
		for b.Loop() {
			docs, err := store.Get(b.Context(), "keys_1_1", []string{keys[random.IntN(len(keys))]})
			if err != nil || len(docs) != 1 {
				b.Fatal(len(docs), err)
			}
		}
	})
	b.Run("twenty by an index", func(b *testing.B) {
		for b.Loop() {
			account := "user/" + users[random.IntN(len(users))] + "/lot"
			q := projections.Query{Index: "account", Equal: []any{account}, Desc: true, Limit: page}
			if docs, err := store.Find(b.Context(), "audit_1_1", q); err != nil || len(docs) == 0 {
				b.Fatal(len(docs), err)
			}
		}
	})
	b.Run("twenty of all", func(b *testing.B) {
		for b.Loop() {
			after := &projections.Cursor{ID: keys[random.IntN(len(keys))]}
			q := projections.Query{After: after, Limit: page}
			if _, err := store.Find(b.Context(), "keys_1_1", q); err != nil {
				b.Fatal(err)
			}
		}
	})
}

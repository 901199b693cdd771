package server

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/commands"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/sqlite"
	"truebond/projections/storetest"
)

func TestAllThatIsDueAtOnceIsFoundPageByPage(t *testing.T) {
	for name, open := range map[string]func(context.Context, *testing.T) (projections.Store, error){
		"SQLite": func(_ context.Context, t *testing.T) (projections.Store, error) {
			return sqlite.Open(filepath.Join(t.TempDir(), "views.db"))
		},
		"MongoDB": func(ctx context.Context, t *testing.T) (projections.Store, error) {
			return mongo.Open(ctx, storetest.Mongo(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := open(t.Context(), t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close(context.Background()) })
			findsAllThatIsDue(t, store)
		})
	}
}

func findsAllThatIsDue(t *testing.T, store projections.Store) {
	t.Helper()
	const table, together, max = "timers_1_1", 2300, 1000
	now := time.Now().UTC().Truncate(time.Millisecond)
	batch := projections.Batch{Tables: []string{table}, To: 1, Hash: []byte("of the event")}
	var wanted []string
	put := func(call string, due time.Time) {
		timer := ledger.Timer{Kind: ledger.RingEnds, Call: call, Due: due.UnixMilli()}
		body, err := json.Marshal(timer)
		if err != nil {
			t.Fatal(err)
		}
		batch.Writes = append(batch.Writes, projections.Write{Table: table,
			Document: projections.Document{ID: "call/" + call, Position: 1, Body: body}})
	}
	for i := range together {
		wanted = append(wanted, fmt.Sprintf("call_%04d", i))
	}
	for _, call := range slices.Backward(wanted) {
		put(call, now)
	}
	spoil := func(i int, body string) { // what stands at a place cannot be read as a timer
		write := &batch.Writes[together-1-i]
		write.Body = fmt.Appendf(nil, body, now.UnixMilli())
	}
	spoil(1, `{"due":%d,"interval":"two"}`)
	spoil(max-2, `{"due":%d,"interval":"two"}`) // the last one of a page: one more stands before all of them
	spoil(together-1, `{"due":%d.5,"interval":2}`)
	put("before", now.Add(-time.Millisecond))
	put("after", now.Add(time.Millisecond))
	wanted = slices.Insert(wanted, 0, "before")
	made := projections.Table{Name: table, View: ledger.Timers.Name, Version: 1,
		Indexes: []projections.Index{{Name: projections.TimersByDue, Fields: []string{"due"}}}}
	for _, step := range []func() error{
		func() error { return store.Create(t.Context(), made) },
		func() error { return store.Write(t.Context(), batch) },
		func() error { return store.GoLive(t.Context(), table) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	v := &views{reader: projections.NewReader(store)}
	var found []string
	unreadable := 0
	var after commands.DueTimer
	for {
		due, err := v.DueUntil(t.Context(), now, after, max)
		if err != nil {
			t.Fatal(err)
		}
		for _, timer := range due {
			found = append(found, strings.TrimPrefix(timer.ID, "call/"))
			if timer.Err != nil {
				unreadable++
			} else if "call/"+timer.Call != timer.ID {
				t.Errorf("%s is read as %v", timer.ID, timer.Timer)
			}
			if timer.Due != now.UnixMilli() && timer.Call != "before" {
				t.Errorf("%s is due at %v", timer.ID, timer.DueAt())
			}
		}
		if len(due) < max {
			break
		}
		after = due[max-1]
	}
	if unreadable != 3 {
		t.Errorf("%d are said to be unreadable", unreadable)
	}
	if !slices.Equal(found, wanted) {
		t.Fatalf("%d are found of %d, or in another order", len(found), len(wanted))
	}
}

package projections_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	mongodriver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"truebond/events"
	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/sqlite"
	"truebond/projections/storetest"
)

// compare compares a view, and demands that nothing of it is left behind.
func (w *world) compare(p *projections.Projector, view string) projections.Comparison {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before := len(w.tables())
	c, err := p.Compare(ctx, view, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if now := len(w.tables()); now != before {
		w.t.Fatalf("%d tables were there, and %d are after comparing %s", before, now, view)
	}
	return c
}

func TestViewsThatFollowFromTheLogHaveNoDriftWhateverHappensMeanwhile(t *testing.T) {
	w := newWorld(t)
	flaky := &flakyStore{Store: w.store, chance: rand.New(rand.NewPCG(7, 0))}
	w.store = flaky
	w.happens(1000)
	p, _ := w.running(projections.BatchEvents(200), projections.RecentDocuments(20))
	w.caughtUp(p)
	enough := make(chan struct{})
	var going sync.WaitGroup
	going.Go(func() {
		for {
			select {
			case <-enough:
				return
			case <-time.After(time.Millisecond):
				if n := w.log.last(); n < p.Position()+200 && n < 5000 { // a slow machine is to come to an end
					w.happens(3)
				}
			}
		}
	})
	flaky.failOneIn(40)
	for _, v := range w.views {
		c, err := p.Compare(t.Context(), v.Name, nil)
		for errors.Is(err, errFlaky) { // before it had begun
			c, err = p.Compare(t.Context(), v.Name, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Drift != 0 || c.Position < 1000 || c.Documents == 0 {
			t.Errorf("%s: %+v", v.Name, c)
		}
	}
	close(enough)
	going.Wait()
	flaky.failOneIn(0)
	w.caughtUp(p)
	w.equalsAFold()
}

// A tamper changes the documents of a table behind the store's back.
type tamper struct {
	change, remove, add, move, widen func(table, id string)
}

func tamperSQLite(t *testing.T) (projections.Store, tamper) {
	path := filepath.Join(t.TempDir(), "views.db")
	store, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(context.Background()) })
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	run := func(statement string) func(table, id string) {
		return func(table, id string) {
			t.Helper()
			if _, err := db.Exec(fmt.Sprintf(statement, `"docs.`+table+`"`), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	return store, tamper{
		change: run(`UPDATE %s SET body = json_set(body, '$.digest', 1) WHERE id = ?`),
		remove: run(`DELETE FROM %s WHERE id = ?`),
		add:    run(`INSERT INTO %s (id, position, body) VALUES (?, 5, '{"events":1,"digest":5}')`),
		move:   run(`UPDATE %s SET position = position + 1000000 WHERE id = ?`),
		widen:  run(`UPDATE %s SET body = json_set(body, '$.more', 'x') WHERE id = ?`),
	}
}

func tamperMongo(t *testing.T) (projections.Store, tamper) {
	url := storetest.Mongo(t)
	store, err := mongo.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(context.Background()) })
	client, err := mongodriver.Connect(t.Context(), options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Disconnect(context.Background()) })
	parsed, err := connstring.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	database := client.Database(parsed.Database)
	documents := func(table string) *mongodriver.Collection {
		var entry struct{ Collection string }
		if err := database.Collection("views").FindOne(t.Context(), bson.M{"_id": table}).Decode(&entry); err != nil {
			t.Fatal(err)
		}
		return database.Collection(entry.Collection)
	}
	update := func(what bson.M) func(table, id string) {
		return func(table, id string) {
			t.Helper()
			done, err := documents(table).UpdateOne(t.Context(), bson.M{"_id": id}, what)
			if err != nil || done.ModifiedCount != 1 {
				t.Fatalf("tamper with %s: %+v, %v", id, done, err)
			}
		}
	}
	return store, tamper{
		change: update(bson.M{"$set": bson.M{"doc.digest": int64(1)}}),
		move:   update(bson.M{"$inc": bson.M{"position": int64(1_000_000)}}),
		widen:  update(bson.M{"$set": bson.M{"doc.more": "x"}}),
		remove: func(table, id string) {
			if _, err := documents(table).DeleteOne(t.Context(), bson.M{"_id": id}); err != nil {
				t.Fatal(err)
			}
		},
		add: func(table, id string) {
			_, err := documents(table).InsertOne(t.Context(), bson.M{"_id": id, "position": int64(5),
				"doc": bson.M{"events": int64(1), "digest": int64(5)}})
			if err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestADocumentThatWasTamperedWithIsFound(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (projections.Store, tamper){
		"SQLite": tamperSQLite, "MongoDB": tamperMongo,
	} {
		t.Run(name, func(t *testing.T) {
			store, tamper := open(t)
			w := &world{t: t, log: newMemoryLog(), store: store}
			// Documents that never change again, one that always does, and many on a page.
			w.views = []projections.View{{Folding: tallies("each", func(e events.Event) []string {
				return []string{fmt.Sprintf("of/%05d", e.Position), "all"}
			}).Folding()}}
			w.happens(1200)
			p, _ := w.running()
			w.caughtUp(p)
			if c := w.compare(p, "each"); c.Drift != 0 || c.Documents != 1201 || c.Position != 1200 {
				t.Fatalf("before anything was touched: %+v", c)
			}
			table := w.liveTable("each").Name
			tamper.change(table, "of/00007")
			tamper.change(table, "all")
			tamper.remove(table, "of/00500")
			tamper.remove(table, "of/01200")
			tamper.add(table, "of/00500x")
			tamper.add(table, "zzz")
			tamper.move(table, "of/00900")
			tamper.widen(table, "of/00901")
			c := w.compare(p, "each")
			slices.SortFunc(c.Differences, func(a, b projections.Difference) int { return slices.Compare([]string{a.ID}, []string{b.ID}) })
			want := []projections.Difference{
				{"all", projections.Differs, 1200, 1200}, {"of/00007", projections.Differs, 7, 7},
				{"of/00500", projections.Lost, 0, 500}, {"of/00500x", projections.Extra, 5, 0},
				{"of/00900", projections.Differs, 1000900, 900}, {"of/00901", projections.Differs, 901, 901},
				{"of/01200", projections.Lost, 0, 1200}, {"zzz", projections.Extra, 5, 0},
			}
			if !slices.Equal(c.Differences, want) || c.Drift != uint64(len(want)) || c.Documents != 1203 {
				t.Errorf("found were %+v", c)
			}
			if err := p.Rebuild(t.Context(), []string{"each"}, nil); err != nil {
				t.Fatal(err)
			}
			if c := w.compare(p, "each"); c.Drift != 0 {
				t.Errorf("after building the view again: %+v", c)
			}
		})
	}
}

// stubbornStore drops no table while it is told not to.
type stubbornStore struct {
	projections.Store
	stubborn, hurried atomic.Bool
}

func (s *stubbornStore) Drop(ctx context.Context, table string) error {
	if _, bounded := ctx.Deadline(); bounded {
		s.hurried.Store(true)
	}
	if s.stubborn.Load() {
		return errFlaky
	}
	return s.Store.Drop(ctx, table)
}

func TestTablesThatComparisonsCouldNotDropDoNotGrowInNumber(t *testing.T) {
	w := newWorld(t)
	store := &stubbornStore{Store: w.store}
	w.store = store
	w.happens(100)
	p, _ := w.running()
	w.caughtUp(p)
	before := len(w.tables())
	store.stubborn.Store(true)
	if _, err := p.Compare(t.Context(), "people", nil); err != nil {
		t.Fatal(err)
	}
	if now := len(w.tables()); now != before+1 {
		t.Fatalf("%d tables were there, and %d are", before, now)
	}
	if _, err := p.Compare(t.Context(), "people", nil); err == nil {
		t.Error("another table was made beside one that could not be dropped")
	}
	store.stubborn.Store(false)
	if _, err := p.Compare(t.Context(), "people", nil); err != nil {
		t.Fatal(err)
	}
	if now := len(w.tables()); now != before {
		t.Errorf("%d tables were there, and %d are", before, now)
	}
	if store.hurried.Load() {
		t.Error("a large table would not be dropped in time")
	}
}

func TestAComparisonThatIsBrokenOffLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.happens(500)
	p, stop := w.running(projections.BatchEvents(10))
	w.caughtUp(p)
	before := len(w.tables())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := p.Compare(ctx, "people", func(done, _ uint64) {
		if done >= 100 {
			cancel()
		}
	})
	if err == nil {
		t.Error("a comparison that was broken off has succeeded")
	}
	if _, err := p.Compare(t.Context(), "no such view", nil); err == nil {
		t.Error("a view that there is not was compared")
	}
	if now := len(w.tables()); now != before {
		t.Errorf("%d tables were there, and %d are", before, now)
	}
	stop()
	if _, err := p.Compare(t.Context(), "people", nil); err == nil {
		t.Error("a projector that has stopped compares views")
	}
}

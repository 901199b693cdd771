package mongo_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/storetest"
)

func TestAServerOutsideOfAReplicaSetIsRefused(t *testing.T) {
	_, err := mongo.Open(t.Context(), storetest.LoneMongo(t))
	if err == nil || !strings.Contains(err.Error(), "--replSet") {
		t.Fatalf("it is opened with: %v", err)
	}
}

func TestAnURLThatIsNoneAndAServerThatIsNotThereAreRefused(t *testing.T) {
	for _, url := range []string{"", "localhost", "mongodb://", "mongodb://127.0.0.1:1"} {
		ctx, cancel := context.WithCancel(t.Context())
		if strings.Contains(url, "127") {
			cancel() // do not wait
		}
		if _, err := mongo.Open(ctx, url); err == nil {
			t.Errorf("%q is opened", url)
		}
		cancel()
	}
}

// Keys of documents stand in the database so that none has a meaning to a server.
func TestStoredKeysHaveNoDotsAndDollars(t *testing.T) {
	url := storetest.Mongo(t)
	store := open(t, url)
	create(t, store)
	put(t, store, `{"$set":{"a.b":[{"$c":1}]},"x%24":{"a\u0000b":2}}`)
	for _, raw := range stored(t, url) {
		if text := raw.String(); strings.Contains(text, `a.b`) || strings.Contains(text, `"$set`) ||
			strings.Contains(text, `"$c`) {
			t.Errorf("stored is %s", text)
		}
		if !strings.Contains(raw.String(), `"%24set"`) {
			t.Errorf("stored is %s, without the key", raw)
		}
	}
}

func TestIntegersAndPositionsAreStoredAsWhatTheyAre(t *testing.T) {
	url := storetest.Mongo(t)
	store := open(t, url)
	create(t, store)
	put(t, store, `{"n":9007199254740993,"f":0.5}`)
	raw := stored(t, url)[0]
	for path, want := range map[string]bson.RawValue{
		"position": {Type: bson.TypeInt64}, "doc.n": {Type: bson.TypeInt64}, "doc.f": {Type: bson.TypeDouble},
	} {
		if got := raw.Lookup(strings.Split(path, ".")...); got.Type != want.Type {
			t.Errorf("%s is stored as %s, not %s", path, got.Type, want.Type)
		}
	}
}

func TestNumbersAndDepthsThatCannotBeKeptAreRefusedWhole(t *testing.T) {
	store := open(t, storetest.Mongo(t))
	create(t, store)
	for _, body := range []string{
		`{"n":9223372036854775808}`, `{"n":-9223372036854775809}`, `{"n":1e999}`,
		`{"deep":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
	} {
		if err := store.Write(t.Context(), batch(0, body)); err == nil {
			t.Errorf("%.50s was taken", body)
		}
	}
	put(t, store, `{"deep":`+strings.Repeat("[", 89)+strings.Repeat("]", 89)+`}`)
}

// What a crash left behind between the swap of two tables and the dropping of the old
// one is swept by whoever comes next.
func TestWhatACrashLeftIsSwept(t *testing.T) {
	url := storetest.Mongo(t)
	store := open(t, url)
	create(t, store)
	put(t, store, `{"a":1}`)
	database := connect(t, url)
	_, err := database.Collection("views").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: table}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "dropped", Value: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, url)
	if tables, err := again.Tables(t.Context()); err != nil || len(tables) != 0 {
		t.Fatalf("there are tables %v, %v", tables, err)
	}
	names, err := database.ListCollectionNames(t.Context(), bson.D{})
	if err != nil || len(names) != 1 {
		t.Fatalf("there are collections %v, %v", names, err)
	}
	create(t, again)
	put(t, again, `{"a":1}`)
}

const table = "things_1_1"

var indexes = []projections.Index{
	{Name: "pair", Fields: []string{"a", "b"}}, {Name: "list", Fields: []string{"list", "b"}, Each: true},
}

// Every query reads one interval of one index after the other, in order: it looks at no
// more than it gives, and sorts nothing.
func TestQueriesReadNoMoreThanTheyGive(t *testing.T) {
	url := storetest.Mongo(t)
	store := open(t, url)
	create(t, store)
	var bodies []string
	for i := range 2000 {
		bodies = append(bodies, fmt.Sprintf(`{"a":"x","b":%d,"list":["x","y%d"]}`, i/500, i))
	}
	put(t, store, bodies...)
	database := connect(t, url)
	for name, q := range map[string]projections.Query{
		"by id": {}, "by an index": {Index: "pair"}, "by a value": {Index: "pair", Equal: []any{"x"}},
		"by two values": {Index: "pair", Equal: []any{"x", int64(2)}},
		"in a range": {
			Index: "pair", Equal: []any{"x"}, Range: projections.Range{From: int64(1), Until: int64(2)},
		},
		"by an element":  {Index: "list", Equal: []any{"x"}},
		"with a range":   {Index: "list", Equal: []any{"x"}, Range: projections.Range{From: int64(2)}},
		"behind an id":   {After: &projections.Cursor{ID: "doc01000"}},
		"behind a tie":   {Index: "pair", After: &projections.Cursor{Values: []any{"x", int64(1)}, ID: "doc00700"}},
		"behind a value": {Index: "pair", Equal: []any{"x", int64(1)}, After: &projections.Cursor{ID: "doc00700"}},
		"in a range behind a value": {
			Index: "list", Equal: []any{"x"}, Range: projections.Range{From: int64(0), Until: int64(3)},
			After: &projections.Cursor{Values: []any{int64(1)}, ID: "doc00700"},
		},
		"in a list": {Index: "list", Equal: []any{"x"}, After: &projections.Cursor{
			Values: []any{int64(1)}, ID: "doc00990",
		}},
	} {
		for _, q.Desc = range []bool{false, true} {
			q.Limit = 20
			looked := examined(t, database, func() {
				docs, err := store.Find(t.Context(), table, q)
				if err != nil || len(docs) != q.Limit {
					t.Fatalf("%s: %d documents, %v", name, len(docs), err)
				}
			})
			for _, l := range looked {
				if l.Sorted || l.Keys > 2*q.Limit || l.Docs > q.Limit {
					t.Errorf("%s, descending %v: it looked at %+v", name, q.Desc, l)
				}
			}
		}
	}
}

// A look is what the server did for a query.
type look struct {
	Keys   int  `bson:"keysExamined"`
	Docs   int  `bson:"docsExamined"`
	Sorted bool `bson:"hasSortStage"`
}

// examined is what the server did in the test's tables meanwhile, by its own profile.
func examined(t *testing.T, database *driver.Database, do func()) []look {
	t.Helper()
	ctx := t.Context()
	profile := func(level int) {
		if err := database.RunCommand(ctx, bson.D{{Key: "profile", Value: level}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	profile(2)
	do()
	profile(0)
	var looked []look
	cursor, err := database.Collection("system.profile").Find(ctx, bson.D{
		{Key: "op", Value: "query"}, {Key: "ns", Value: bson.D{{Key: "$regex", Value: `\.view\.`}}},
	})
	if err == nil {
		err = cursor.All(ctx, &looked)
	}
	if err == nil {
		err = database.Collection("system.profile").Drop(ctx)
	}
	if err != nil || len(looked) == 0 {
		t.Fatalf("the profile has %d queries, %v", len(looked), err)
	}
	return looked
}

func open(t *testing.T, url string) *mongo.Store {
	t.Helper()
	store, err := mongo.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	return store
}

func create(t *testing.T, store projections.Store) {
	t.Helper()
	things := projections.Table{Name: table, View: "things", Version: 1, Indexes: indexes}
	err := store.Create(t.Context(), things)
	if err != nil {
		t.Fatal(err)
	}
}

func batch(from uint64, bodies ...string) projections.Batch {
	b := projections.Batch{Tables: []string{table}, From: from, To: from + 1}
	for i, body := range bodies {
		b.Writes = append(b.Writes, projections.Write{Table: table, Document: projections.Document{
			ID: fmt.Sprintf("doc%05d", i), Position: from + 1, Body: []byte(body),
		}})
	}
	return b
}

func put(t *testing.T, store projections.Store, bodies ...string) {
	t.Helper()
	if err := store.Write(t.Context(), batch(0, bodies...)); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, url string) *driver.Database {
	t.Helper()
	client, err := driver.Connect(t.Context(), options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	parsed, err := connstring.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return client.Database(parsed.Database)
}

// collection is where the database has the test's table.
func collection(t *testing.T, url string) *driver.Collection {
	t.Helper()
	database := connect(t, url)
	names, err := database.ListCollectionNames(t.Context(), bson.D{
		{Key: "name", Value: bson.D{{Key: "$regex", Value: "^view\\." + table}}},
	})
	if err != nil || len(names) != 1 {
		t.Fatalf("the table is in collections %v, %v", names, err)
	}
	return database.Collection(names[0])
}

// stored are the documents of the test's table as they are in the database.
func stored(t *testing.T, url string) []bson.Raw {
	t.Helper()
	cursor, err := collection(t, url).Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var docs []bson.Raw
	if err := cursor.All(t.Context(), &docs); err != nil || len(docs) == 0 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return docs
}

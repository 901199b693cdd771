package mongo_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"

	"truebond/projections"
	"truebond/projections/storetest"
)

// MongoDB drops no collection that a transaction has looked into. Then it stays, and is not written any more.
func TestATableThatWasReplacedIsNotReadThoughItCouldNotBeDropped(t *testing.T) {
	url := storetest.Mongo(t)
	leader, follower := open(t, url), open(t, url)
	create(t, leader)
	put(t, leader, `{"a":1}`)
	if err := leader.GoLive(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	reader := projections.NewReader(follower)
	reads := func(want string) {
		t.Helper()
		docs, err := reader.Get(t.Context(), "things", []string{"doc00000"})
		if err != nil || len(docs) != 1 || string(docs[0].Body) != want {
			t.Errorf("it reads %+v, %v; want %s", docs, err, want)
		}
	}
	reads(`{"a":1}`)

	const next = "things_1_2"
	things := projections.Table{Name: next, View: "things", Version: 1, Indexes: indexes}
	if err := leader.Create(t.Context(), things); err != nil {
		t.Fatal(err)
	}
	looksInto(t, url)
	again := batch(0, `{"a":2}`)
	again.Tables[0], again.Writes[0].Table = next, next
	if err := leader.Write(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := leader.GoLive(ctx, next); err == nil {
		t.Fatal("the table before was dropped, so this shows nothing")
	}
	if _, err := follower.Tables(t.Context()); err != nil { // it looks how far the views are
		t.Fatal(err)
	}
	reads(`{"a":2}`)
}

// looksInto begins a transaction that looks into the test's table, until the test ends.
func looksInto(t *testing.T, url string) {
	t.Helper()
	documents := collection(t, url)
	session, err := documents.Database().Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.EndSession(context.Background()) })
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	err = driver.WithSession(t.Context(), session, func(sc driver.SessionContext) error {
		return documents.FindOne(sc, bson.D{}).Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

package mongo_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"truebond/projections/storetest"
)

// A server that is killed in the middle of a batch leaves its transaction open, and
// MongoDB keeps its locks for a minute.
func TestATransactionOfADeadServerIsNotWaitedFor(t *testing.T) {
	url := storetest.Mongo(t)
	store := open(t, url)
	create(t, store)
	// Its session is never ended, as if the process were gone.
	dead, err := driver.Connect(t.Context(), options.Client().ApplyURI(url).SetAppName("truebond/"+connect(t, url).Name()+"/dead"))
	if err != nil {
		t.Fatal(err)
	}
	session, err := dead.StartSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	views := dead.Database(connect(t, url).Name()).Collection("views")
	err = driver.WithSession(t.Context(), session, func(sc driver.SessionContext) error {
		_, err := views.UpdateMany(sc, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "position", Value: int64(7)}}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // far below MongoDB's minute
	defer cancel()
	if err := store.Write(ctx, batch(0, `{"a":1}`)); err != nil {
		t.Fatal(err)
	}
}

package mongo

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"truebond/projections"
	"truebond/projections/storetest"
)

func TestWhatAnotherProcessLeftOpenIsEndedByWhoTakesOver(t *testing.T) {
	url := storetest.Mongo(t)
	open := func() *Store {
		s, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(context.Background()) })
		return s
	}
	old, next := open(), open()
	table := projections.Table{Name: "left_1_1", View: "left", Version: 1}
	if err := old.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	session, err := old.client.StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.EndSession(context.Background())
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	stuck := mongo.NewSessionContext(t.Context(), session)
	if _, err := old.views.UpdateMany(stuck, bson.D{}, set(bson.E{Key: "position", Value: int64(7)})); err != nil {
		t.Fatal(err)
	}
	write := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return next.Write(ctx, projections.Batch{Tables: []string{table.Name}, From: 0, To: 1, Hash: []byte{1}})
	}
	if write(time.Second) == nil {
		t.Fatal("nothing was held, so this shows nothing")
	}
	if err := next.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := write(time.Minute); err != nil {
		t.Errorf("after the take-over: %v", err)
	}
	if session.CommitTransaction(t.Context()) == nil {
		t.Error("the old process could commit after it was taken over")
	}
}

package mongo_test

import (
	"context"
	"testing"

	"truebond/projections/mongo"
	"truebond/projections/storetest"
)

func BenchmarkWrite(b *testing.B) {
	store, err := mongo.Open(b.Context(), storetest.Mongo(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close(context.Background()) })
	storetest.BenchmarkWrite(b, store)
}

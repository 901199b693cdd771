package mongo_test

import (
	"testing"

	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/storetest"
)

func TestMongoKeepsToTheSuite(t *testing.T) {
	storetest.Suite(t, func(t testing.TB) func() (projections.Store, error) {
		url := storetest.Mongo(t)
		return func() (projections.Store, error) { return mongo.Open(t.Context(), url) }
	})
}

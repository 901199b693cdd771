package vault

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/event"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"

	"truebond/projections/storetest"
)

// A crowd are reads that are under way. The first ones wait until as many are as may be.
type crowd struct {
	mu    sync.Mutex
	now   int
	most  int
	there chan struct{} // closed when mongoStrictMax are, or one has waited for them for too long
	close sync.Once
}

func (c *crowd) monitor(t *testing.T) *event.CommandMonitor {
	ends := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now--
	}
	return &event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			c.mu.Lock()
			if c.now++; c.now == mongoStrictMax {
				c.close.Do(func() { close(c.there) })
			}
			c.most = max(c.most, c.now)
			c.mu.Unlock()
			select {
			case <-c.there:
			case <-time.After(10 * time.Second):
				c.close.Do(func() {
					t.Errorf("%s waits, and fewer than %d are asked at a time", e.CommandName, mongoStrictMax)
					close(c.there)
				})
			}
		},
		Succeeded: func(context.Context, *event.CommandSucceededEvent) { ends() },
		Failed:    func(context.Context, *event.CommandFailedEvent) { ends() },
	}
}

// Each waits for a majority: one after the other, many of them would keep their reader waiting for long.
func TestKeysThatAreNotThereAreLookedForSomeAtATime(t *testing.T) {
	url := storetest.Mongo(t)
	store, err := OpenMongo(t.Context(), url)
	must(t, err)
	defer store.Close(context.Background()) //nolint:errcheck // it goes with its server
	c := &crowd{there: make(chan struct{})}
	watched, err := mongo.Connect(t.Context(), options.Client().ApplyURI(url).SetMonitor(c.monitor(t)))
	must(t, err)
	defer watched.Disconnect(context.Background()) //nolint:errcheck // the test disconnects it
	keys := store.strict
	store.strict = watched.Database(keys.Database().Name()).
		Collection(keys.Name(), options.Collection().SetReadConcern(readconcern.Linearizable()))

	var owners, want []string
	for i := range 2 * mongoStrictMax {
		owners = append(owners, fmt.Sprintf("usr_%02d", i))
		if i%3 == 0 {
			want = append(want, owners[i])
			must(t, store.AddKey(t.Context(), owners[i], []byte("key")))
		}
	}
	// As a new primary does not know yet what a majority has.
	store.sure = store.client.Database(keys.Database().Name()).Collection("empty")
	found, _, err := store.Keys(t.Context(), owners)
	must(t, err)
	var got []string
	for _, k := range found {
		got = append(got, k.Owner)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("found are the keys of %v, not of %v", got, want)
	}
	if c.most > mongoStrictMax {
		t.Errorf("%d are asked for at a time", c.most)
	}
	must(t, watched.Disconnect(t.Context()))
	if _, _, err := store.Keys(t.Context(), owners); err == nil {
		t.Error("nobody could look, and no key is there")
	}
}

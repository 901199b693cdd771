package mongo_test

import (
	"strings"
	"testing"
	"time"

	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

// A server that was cut off says nothing, not even that its connections have ended.
func TestAServerThatSaysNothingIsGivenUpInSeconds(t *testing.T) {
	t.Parallel()
	url := storetest.Mongo(t)
	addr := strings.TrimPrefix(url[:strings.LastIndex(url, "/")], "mongodb://")
	proxy := natstest.NewProxy(t, "tcp://"+addr)
	store := open(t, strings.Replace(url, addr, proxy.Addr(), 1))
	create(t, store)
	proxy.Freeze()
	began := time.Now()
	_, err := store.Get(t.Context(), table, []string{"a"})
	if err == nil {
		t.Fatal("it was read")
	}
	const most = 15 * time.Second // 5 until it is given up, and 5 in which another one may turn up
	if took := time.Since(began); took > most {
		t.Errorf("it was given up after %v: %v", took, err)
	}
}

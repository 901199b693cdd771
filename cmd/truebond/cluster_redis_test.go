package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

// saysOfRedis waits until a server is ready, or says of Redis why it is not.
func (n *node) saysOfRedis(ready bool) (detail string) {
	n.t.Helper()
	status := map[bool]int{true: 200, false: 503}[ready]
	var answered answer
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if answered = n.world().ask("GET", "/readyz", "", nil); answered.status != status {
			continue
		}
		var told struct {
			Checks []struct {
				Name, Detail string
				OK           bool
			}
		}
		if err := json.Unmarshal([]byte(answered.body), &told); err != nil {
			n.t.Fatal(err)
		}
		for _, check := range told.Checks {
			if check.Name == "redis" && check.OK == ready {
				return check.Detail
			}
		}
	}
	n.t.Fatalf("it does not come that it is ready is %t: %s", ready, answered.body)
	return ""
}

// It would show old balances, and open to sessions that have ended.
func TestAServerWithAnotherRedisThanTheLeadersIsNotReadyAndSaysWhy(t *testing.T) {
	url, _ := natstest.Cluster(t)
	mongo, odd := storetest.Mongo(t), storetest.Redis(t)
	c := &crowd{t: t, env: sharedSettings(mongo, storetest.Redis(t))}
	first := c.adds(nil, url).start().serves()
	c.leader(first)
	second, wrong := c.adds(nil, url).start().serves(), c.adds(nil, url)
	// Somebody has led with it, for another log.
	anna := first.world().signsUp()
	client := goredis.NewClient(&goredis.Options{Addr: odd})
	defer client.Close()
	if err := client.MSet(t.Context(), "position!", "1", "position/user/"+anna.id, 1<<40).Err(); err != nil {
		t.Fatal(err)
	}
	wrong.env = []string{"REDIS_URL=redis://" + odd}
	wrong.start().serves()
	says := "REDIS_URL leads to another Redis here than at " + first.url() // also when nobody looks at /readyz
	for end := time.Now().Add(30 * time.Second); !strings.Contains(wrong.hasSaid(), says); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("its log does not say why: %s", wrong.hasSaid())
		}
	}
	if detail := wrong.saysOfRedis(false); !strings.Contains(detail, says) {
		t.Errorf("it says %q", detail)
	}
	second.saysOfRedis(true)
	anna.at(wrong).get("/api/auth/me").is(200) // and not when that position comes
	wrong.signal(syscall.SIGTERM)
	<-wrong.ended
	wrong.env = nil
	wrong.start().serves().saysOfRedis(true)
	// Another one leads, and marks the Redis of all anew.
	first.signal(syscall.SIGTERM)
	<-first.ended
	c.leader(second, wrong)
	for _, n := range []*node{second, wrong, first.start().serves()} {
		n.saysOfRedis(true)
	}
}

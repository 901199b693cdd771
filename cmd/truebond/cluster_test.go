package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"truebond/cmd/truebond/datafolder"
	"truebond/commands/cluster"
	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

// A node is a server of a cluster, in a process of its own.
type node struct {
	*child
	t      *testing.T
	crowd  *crowd
	host   *host
	data   string
	args   []string
	env    []string               // on top of the crowd's
	served atomic.Pointer[string] // where; it changes with each start
}

// A crowd is a cluster of servers, and the settings that they share.
type crowd struct {
	t     *testing.T
	env   []string
	nodes []*node
}

const (
	clusterSecret  = "a secret that all servers of the cluster share"
	clusterWebhook = "whsec_shared_by_all_servers"
)

// sharedSettings are what the servers of a cluster have alike.
func sharedSettings(mongo, redis string) []string {
	return []string{
		"MONGO_URL=" + mongo, "REDIS_URL=redis://" + redis,
		"JWT_SECRET=" + clusterSecret, "STRIPE_WEBHOOK_SECRET=" + clusterWebhook,
	}
}

// mongoOn is a replica set of a mongod on each of these hosts.
func mongoOn(t *testing.T, hosts ...*host) *storetest.ReplicaSet {
	t.Helper()
	var places []storetest.Place
	for _, h := range hosts {
		places = append(places, storetest.Place{Host: h.address(), Enter: h.enter()})
	}
	return storetest.MongoSet(t, places...)
}

// adds makes a server of the cluster that is not started.
func (c *crowd) adds(in *host, nats string, args ...string) *node {
	c.t.Helper()
	args = append([]string{"--nats", nats, "--listen", in.address() + ":0"}, args...)
	n := &node{t: c.t, crowd: c, host: in, data: c.t.TempDir(), args: args}
	c.nodes = append(c.nodes, n)
	return n
}

// start starts the node's server on its data folder, without waiting for it.
func (n *node) start() *node {
	n.t.Helper()
	var err error
	if n.child, err = bear(n.t, n.host, slices.Concat(n.crowd.env, n.env), append([]string{"--data", n.data}, n.args...)...); err != nil {
		n.t.Fatal(err)
	}
	return n
}

// url is where the node serves, or has served.
func (n *node) url() string {
	if at := n.served.Load(); at != nil {
		return *at
	}
	return ""
}

// serves waits until the node serves.
func (n *node) serves() *node {
	n.t.Helper()
	if err := n.child.serves(); err != nil {
		n.t.Fatal(err)
	}
	n.served.Store(&n.child.url)
	return n
}

// role is what a server says of who leads; empty if it does not say.
func (n *node) role() string {
	client := nethttp.Client{Timeout: time.Second}
	response, err := client.Get(n.url() + "/readyz")
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	var ready struct {
		Checks []struct{ Name, Detail string }
	}
	_ = json.NewDecoder(response.Body).Decode(&ready)
	for _, check := range ready.Checks {
		if check.Name == "leader" {
			return check.Detail
		}
	}
	return ""
}

// leader waits until one of these leads, and tells which.
func (c *crowd) leader(among ...*node) *node {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, n := range among {
			if n.role() == "this server leads" {
				return n
			}
		}
	}
	for _, n := range among {
		c.t.Logf("%s: %s\n%s", n.url(), n.role(), n.hasSaid())
	}
	c.t.Fatal("nobody leads")
	return nil
}

// others are the nodes but one.
func (c *crowd) others(but *node) []*node {
	var rest []*node
	for _, n := range c.nodes {
		if n != but {
			rest = append(rest, n)
		}
	}
	return rest
}

// world is a node as its users and its operator meet it.
func (n *node) world() *world {
	n.t.Helper()
	note, err := datafolder.Folder{Path: n.data}.ReadNote()
	if err != nil {
		n.t.Fatal(err)
	}
	return &world{t: n.t, url: n.url(), secret: clusterWebhook, socket: socketClient(note.Socket)}
}

// at is the same person at another server.
func (p *person) at(n *node) *person {
	other := *p
	other.w = n.world()
	return &other
}

func startCrowd(t *testing.T) *crowd {
	t.Helper()
	url, _ := natstest.Cluster(t)
	c := &crowd{t: t, env: sharedSettings(mongoOn(t, nil, nil, nil).URL, storetest.Redis(t))}
	for range 3 {
		c.adds(nil, url).start()
	}
	for _, n := range c.nodes {
		n.serves()
	}
	return c
}

func TestEveryServerOfAClusterTakesCommandsAndShowsWhatOthersTook(t *testing.T) {
	c := startCrowd(t)
	leader := c.leader(c.nodes...)
	followers := c.others(leader)
	w := followers[0].world()
	people := w.signsUp()
	for i := range 10 {
		writes, reads := c.nodes[i%3], c.nodes[(i+1)%3]
		p := people.at(writes)
		intent := p.w.ask("POST", "/api/payments/intent/create", p.token, map[string]any{"package": "small"},
			"Idempotency-Key", fmt.Sprint("intent-", i)).is(201).get("intent_id")
		people.at(reads).get("/api/payments/intent/"+intent).is(200).says("intent_id", intent)
		p.w.ask("POST", "/api/payments/simulate/payment", p.token, map[string]any{"intent_id": intent}).is(200)
		people.at(reads).has(int64(10 + 50*(i+1)))
	}
	// A session that ends at one server has ended at all of them.
	people.at(followers[0]).get("/api/auth/me").is(200)
	people.at(followers[1]).post("/api/auth/logout", map[string]any{}).is(200)
	for _, n := range c.nodes {
		people.at(n).get("/api/auth/me").is(401)
	}
}

func TestWhatIsTakenAwayAtOneServerIsGoneAtAllOfThem(t *testing.T) {
	c := startCrowd(t)
	leader := c.leader(c.nodes...)
	followers := c.others(leader)
	one, other := followers[0], followers[1]

	// A key that an operator makes at one server opens another, and is revoked at a third.
	key := one.world().operate("/api/operator/api-keys", map[string]any{"name": "gifts", "scopes": []string{"credits:deduct"}}).
		is(201).get("key")
	charge := func(n *node, id, user string) answer {
		return n.world().ask("POST", "/api/credits/deduct", "", map[string]any{"user_id": user, "credits": 1, "reason": "r"},
			"X-API-Key", key, "Idempotency-Key", id)
	}
	anna, ben := one.world().signsUp(), other.world().signsUpAs("ben@example.com")
	charge(other, "k1", anna.id).is(201)
	charge(one, "k1", anna.id).is(201).says("available", 9)
	if got := charge(leader, "k1", ben.id).is(422).get("code"); got != "key_reused" {
		t.Errorf("a key that was used for another request was answered %q", got)
	}
	other.world().operate("/api/operator/api-keys/revoke", map[string]any{"key": key}).is(200)
	for i, n := range c.nodes {
		charge(n, fmt.Sprint("late-", i), anna.id).is(401)
	}

	// What an erased person wrote cannot be read anywhere, also where it was read before.
	anna.at(one).post("/api/v2/messages/send", map[string]any{"to": ben.id, "body": "it is me"}).is(201)
	for _, n := range c.nodes {
		ben.at(n).get("/api/v2/messages/conversation/"+anna.id).is(200).says("data.0.body", "it is me")
	}
	one.world().operate("/api/operator/erase", map[string]any{"user_id": anna.id, "reason": "asked by letter"}).is(200)
	for _, n := range c.nodes {
		ben.at(n).get("/api/v2/messages/conversation/"+anna.id).is(200).says("data.0.body", "erased")
		anna.at(n).get("/api/auth/me").is(401)
	}

	// Views are built again by whoever leads, whichever server is asked.
	server := &target{data: one.data}
	client, err := server.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := rebuild(t.Context(), client, []string{"balances"}, &said); err != nil || !strings.Contains(said.String(), "balances") {
		t.Errorf("views were not built again through a follower: %v %s", err, said.String())
	}
	ben.at(other).has(10)
}

func TestServersThatDoNotGoTogetherSayWhy(t *testing.T) {
	url, _ := natstest.Cluster(t)
	mongo, redis := storetest.Mongo(t), storetest.Redis(t)
	c := &crowd{t: t, env: sharedSettings(mongo, redis)}
	first := c.adds(nil, url).start().serves()
	c.leader(first)
	for _, wrong := range []struct {
		name, says string
		env        []string
		args       []string
	}{
		{"another webhook secret", "STRIPE_WEBHOOK_SECRET", []string{"STRIPE_WEBHOOK_SECRET=whsec_another"}, nil},
		{"another secret", "JWT_SECRET does not open the vault", []string{"JWT_SECRET=" + strings.Repeat("x", 40)}, nil},
		{"no Redis", "it lacks REDIS_URL", []string{"REDIS_URL="}, nil},
		{"a test clock", "--test-clock", nil, []string{"--test-clock"}},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			odd := &crowd{t: t, env: append(sharedSettings(mongo, redis), wrong.env...)}
			n := odd.adds(nil, url, wrong.args...).start()
			select {
			case <-n.ended:
			case <-time.After(time.Minute):
				t.Fatal("the server does not end")
			}
			if !strings.Contains(n.hasSaid(), wrong.says) {
				t.Errorf("it does not say %q: %s", wrong.says, n.hasSaid())
			}
		})
	}
	first.signal(syscall.SIGTERM)
	<-first.ended
	alone := &crowd{t: t, env: []string{"MONGO_URL=" + mongo, "JWT_SECRET=" + clusterSecret}}
	alone.adds(nil, url).start().serves()
	second := c.adds(nil, url).start()
	<-second.ended
	if !strings.Contains(second.hasSaid(), "serves this log alone, since it lacks REDIS_URL, STRIPE_WEBHOOK_SECRET") {
		t.Errorf("a server beside one that is alone says: %s", second.hasSaid())
	}
}

// A follower looks now and then only how far the views are: what it shows may be newer.
func TestABalanceSaysAsOfWhenItIsAtAFollowerToo(t *testing.T) {
	c := startCrowd(t)
	leader := c.leader(c.nodes...)
	way := c.others(leader)[0]
	key := leader.world().operate("/api/operator/api-keys", map[string]any{"name": "gifts",
		"scopes": []string{"credits:deduct"}}).is(201).get("key")
	anna := leader.world().signsUp()
	redis, err := goredis.ParseURL(strings.TrimPrefix(c.env[1], "REDIS_URL="))
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(redis)
	defer client.Close()
	for i := range 9 {
		written := anna.w.ask("POST", "/api/credits/deduct", "", map[string]any{"user_id": anna.id, "credits": 1, "reason": "r"},
			"X-API-Key", key, "Idempotency-Key", fmt.Sprint("k", i)).is(201).get("position")
		// As if the leader had not reached Redis: it waits for the views then, and tells nobody.
		anna.at(leader).has(int64(9 - i))
		if err := client.Del(t.Context(), "position/user/"+anna.id).Err(); err != nil {
			t.Fatal(err)
		}
		anna.at(way).get("/api/credits/balance").is(200).says("available", 9-i, "position", written)
	}
}

// It would take commands, and none that it passes on would be believed.
func TestAServerWhoseClockIsOffIsNotReady(t *testing.T) {
	url, _ := natstest.Cluster(t)
	conn, err := cluster.Connect(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &crowd{t: t, env: sharedSettings(storetest.Mongo(t), storetest.Redis(t))}
	n := c.adds(nil, url).start().serves()
	c.leader(n)
	n.signal(syscall.SIGTERM)
	<-n.ended
	leads, stop := context.WithCancel(t.Context()) // somebody whose clock is behind
	var led sync.WaitGroup
	led.Go(func() {
		for begun := time.Now(); leads.Err() == nil; time.Sleep(500 * time.Millisecond) {
			text, err := json.Marshal(cluster.Member{ID: "another", URL: "there", Ready: true,
				Asked: time.Since(begun).Milliseconds(), Wall: time.Now().Add(-2 * time.Minute).UnixMilli()})
			if err == nil {
				err = cluster.SetNote(leads, conn, "leader", text)
			}
			if err != nil && leads.Err() == nil {
				t.Error(err)
			}
		}
	})
	defer led.Wait()
	defer stop()
	n.start().serves()
	const says = "follows there, but the clock here is 2m0s ahead of that one's"
	for end := time.Now().Add(30 * time.Second); n.role() != says; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it says %q", n.role())
		}
	}
	if ready := n.world().ask("GET", "/readyz", "", nil); ready.status != 503 {
		t.Errorf("it is ready: %s", ready.body)
	}
}

package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/projectiontest"
	"truebond/projections/storetest"
)

var (
	clusterRounds = flag.Int("cluster-rounds", 0, "rounds of each fault in a cluster; 0: the short form")
	clusterFault  = flag.String("cluster-fault", "", "only faults in whose name this is")
)

// A clusterEvent is a fault that happens to a cluster under load. It returns when it is over.
type clusterEvent struct {
	name    string
	network bool // needs hosts of its own
	short   bool // is part of the short form
	happen  func(s *stage, t *testing.T)
}

var clusterFaults = []clusterEvent{
	{"the leader is killed", false, true, (*stage).killLeader},
	{"the leader is paused until another leads, and goes on", false, true, (*stage).pauseLeader},
	{"the leader's host is cut off from the others", true, true, (*stage).cutOff},
	{"the leader's host cannot send to the others", true, false, (*stage).cutSending},
	{"the leader's host cannot hear the others", true, false, (*stage).cutHearing},
	{"the NATS server that leads the log is killed", false, false, (*stage).killNATS},
	{"the leader stops in good order", false, false, (*stage).stopLeader},
}

// A stage is a cluster under load: three hosts with a server and a NATS server each.
type stage struct {
	*crowd
	nats  []*natsNode
	hosts []*host
	urls  string
	mongo string
	load  *clusterLoad
	notes lines // of what is done to it
}

func newStage(t *testing.T) *stage {
	t.Helper()
	mongoURL, redis := storetest.Mongo(t), storetest.Redis(t)
	s := &stage{mongo: mongoURL}
	var gateway string
	var err error
	if s.hosts, gateway, err = makeHosts(t, 3); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no hosts can be made: %v", err)
		}
		t.Logf("SKIPPED, NOTHING IS CUT OFF: no hosts can be made: %v", err)
		s.hosts = []*host{nil, nil, nil}
	} else {
		u, err := url.Parse(mongoURL)
		if err != nil {
			t.Fatal(err)
		}
		at := relay(t, gateway, u.Host)
		mongoURL, redis = strings.Replace(mongoURL, u.Host, at, 1), relay(t, gateway, redis)
	}
	s.nats, s.urls = startNATS(t, s.hosts)
	s.crowd = &crowd{t: t, env: sharedSettings(mongoURL, redis)}
	var args []string
	if *clusterTimeline != "" {
		args = []string{"--log-level", "debug"}
	}
	for _, h := range s.hosts {
		s.adds(h, s.urls, args...).start()
	}
	for _, n := range s.nodes {
		n.serves()
	}
	return s
}

func (s *stage) killLeader(t *testing.T) {
	n := s.leader(s.nodes...)
	n.kill()
	s.leader(s.others(n)...)
	s.load.goesOn(t)
	n.start().serves()
}

func (s *stage) pauseLeader(t *testing.T) {
	n := s.leader(s.nodes...)
	n.signal(syscall.SIGSTOP)
	s.leader(s.others(n)...)
	s.load.goesOn(t)
	n.signal(syscall.SIGCONT)
	s.follows(t, n)
}

func (s *stage) killNATS(t *testing.T) {
	for _, n := range s.nats {
		if n.leads() {
			n.kill()
			s.load.goesOn(t)
			n.start(t)
			s.recovers(t)
			return
		}
	}
	t.Error("no NATS server says that it leads the log")
}

func (s *stage) cut(t *testing.T, sending, hearing bool) {
	n := s.leader(s.nodes...)
	each := func(yes bool) {
		for _, h := range s.hosts {
			if h == n.host {
				continue
			}
			if sending {
				n.host.reaches(t, h, yes)
			}
			if hearing {
				h.reaches(t, n.host, yes)
			}
		}
	}
	each(false)
	s.notes.add("cut: " + n.host.ip)
	s.load.goesOn(t)
	s.notes.add("commands go on")
	time.Sleep(2 * time.Second) // it stays cut off for a while
	s.load.goesOn(t)
	each(true)
	s.notes.add("healed")
	if *clusterRounds > 0 {
		s.recovers(t)
	}
	s.load.goesOn(t)
}

// recovers waits until all NATS servers have all, and somebody leads.
func (s *stage) recovers(t *testing.T) {
	t.Helper()
	for _, n := range s.nats {
		for end := time.Now().Add(2 * time.Minute); !n.healthy(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not recover: %s", n.settings.Name, n.logs.String())
			}
		}
	}
	s.leader(s.nodes...)
}

func (s *stage) cutOff(t *testing.T)     { s.cut(t, true, true) }
func (s *stage) cutSending(t *testing.T) { s.cut(t, true, false) }
func (s *stage) cutHearing(t *testing.T) { s.cut(t, false, true) }

func (s *stage) stopLeader(t *testing.T) {
	n := s.leader(s.nodes...)
	n.signal(syscall.SIGTERM)
	<-n.done
	s.load.goesOn(t)
	n.start().serves()
}

// follows waits until a server follows another one.
func (s *stage) follows(t *testing.T, n *node) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.HasPrefix(n.role(), "follows ") {
			return
		}
	}
	t.Errorf("the old leader does not follow: %q\n%s", n.role(), n.logs.String())
}

func TestAClusterKeepsItsPromisesWhateverFails(t *testing.T) {
	s := newStage(t)
	l := startLoad(t, s)
	rounds := max(1, *clusterRounds)
	for _, f := range clusterFaults {
		if *clusterRounds == 0 && !f.short || !strings.Contains(f.name, *clusterFault) {
			continue
		}
		if f.network && s.hosts[0] == nil {
			t.Logf("SKIPPED, NOTHING IS TESTED: %s", f.name)
			continue
		}
		if *clusterRounds > 0 {
			s.recovers(t)
		}
		l.goesOn(t)
		before, _ := l.measured()
		var worst time.Duration
		for round := range rounds {
			s.notes.add("round begins: " + f.name + "; " + s.roles())
			f.happen(s, t)
			_, longest := l.measured()
			worst = max(worst, longest)
			s.keepTimeline(t, fmt.Sprintf("%s-%d", f.name, round+1), longest)
		}
		after, _ := l.measured()
		t.Logf("| %s | %d | %d | longest gap %.1f s |", f.name, rounds, after-before, worst.Seconds())
		if worst > 30*time.Second {
			t.Errorf("%s: nothing was acknowledged for %v", f.name, worst)
		}
	}
	close(l.stop)
	l.callers.Wait()
	s.checkLog(t)
}

// checkLog holds the log, and the views, against what was acknowledged.
func (s *stage) checkLog(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	log, err := jetstream.Open(ctx, jetstream.Options{URL: s.urls, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	last, err := log.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var history []events.Event
	for uint64(len(history)) < last {
		records, err := log.ReadRange(ctx, uint64(len(history)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			history = append(history, r.Event)
		}
	}
	at, charges := map[string]uint64{}, map[string]uint64{}
	account, doubled, lost := map[string]ledger.Account{}, 0, 0
	for _, e := range history {
		if at[e.Key] != 0 {
			doubled++
		}
		at[e.Key] = e.Position
		charges[e.Key[strings.LastIndexByte(e.Key, '/')+1:]] = e.Position
		for _, user := range ledger.Accounts.Keys(e) {
			account[user], _ = ledger.Accounts.Evolve(account[user], user, e)
			if left := account[user].Available(e.Time); left < 0 {
				t.Errorf("at %d %s has %d credits", e.Position, user, left)
			}
		}
	}
	for id, promised := range s.load.acked {
		if charges[id] != promised.position {
			lost++
			t.Errorf("%s was acknowledged at %d and is in the log at %d", id, promised.position, charges[id])
		}
	}
	t.Logf("%d asked, %d acknowledged, %d lost, %d doubled, %d stale reads; the log ends at %d",
		s.load.asked, len(s.load.acked), lost, doubled, s.load.stale, last)
	if doubled > 0 || len(s.load.acked) < 100 {
		t.Errorf("%d keys stand twice in the log; %d commands were acknowledged", doubled, len(s.load.acked))
	}
	s.checkViews(t, last, history)
}

func (s *stage) checkViews(t *testing.T, last uint64, history []events.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store, err := mongo.Open(ctx, s.mongo)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(ctx)
	follower := projections.NewFollower(store, projections.Catalogue(), nil)
	go func() { _ = follower.Run(ctx) }()
	if err := follower.Wait(ctx, last); err != nil {
		t.Fatalf("the views do not get to the log's end: %v", err)
	}
	differences, err := projectiontest.Differences(ctx, store, projections.Catalogue(), history)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"truebond/events/jetstream/natstest"
	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/storetest"
)

// A clusterFault is one that happens to a cluster under load. It returns when it is over.
type clusterFault struct {
	name    string
	network bool // needs hosts of its own
	short   bool // is part of the short form
	happen  func(s *stage, t *testing.T)
}

var clusterFaults = []clusterFault{
	{"the leader is killed", false, true, (*stage).killLeader},
	{"the leader is paused until another leads, and goes on", false, true, (*stage).pauseLeader},
	{"the leader's host is cut off from the others", true, true, (*stage).cutOff},
	{"the leader's host cannot send to the others", true, false, (*stage).cutSending},
	{"the leader's host cannot hear the others", true, false, (*stage).cutHearing},
	{"the NATS server that leads the log is killed", false, false, (*stage).killNATS},
	{"the leader stops in good order", false, false, (*stage).stopLeader},
	{"MongoDB's primary is killed", false, true, (*stage).killMongo},
	{"MongoDB's primary is cut off", true, false, (*stage).cutMongo},
	{"MongoDB's primary hangs, and is cut off then", true, false, (*stage).hangMongo},
	{"the leader alone loses Redis", false, true, (*stage).loseRedisAtLeader},
	{"all lose Redis", false, false, (*stage).loseRedisEverywhere},
	{"the leader alone loses MongoDB", true, false, (*stage).loseMongoAtLeader},
	{"a follower alone loses Redis", false, false, (*stage).loseRedisAtFollower},
	{"the leader's host is cut off, and MongoDB's primary with it", true, false, (*stage).cutSide},
}

// A stage is a cluster under load: three hosts with a server and a NATS server each, and three
// with a mongod.
type stage struct {
	*crowd
	nats  *natstest.Nodes
	hosts []*host // of the servers
	apart []*host // of the mongods
	mongo *storetest.ReplicaSet
	redis []*natstest.Proxy // each server's way to Redis
	load  *load
	notes notes // of what is done to it
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{}
	hosts, gateway, err := makeHosts(t, 6)
	switch {
	case err == nil:
		for _, h := range hosts[3:] {
			h.givesUp(t)
		}
	case os.Getenv("CI") == "true":
		t.Fatalf("no hosts can be made: %v", err)
	default:
		t.Logf("SKIPPED, NOTHING IS CUT OFF: no hosts can be made: %v", err)
		hosts, gateway = make([]*host, 6), (*host)(nil).address()
	}
	s.hosts, s.apart = hosts[:3], hosts[3:]
	s.mongo = mongoOn(t, s.apart...)
	var places []natstest.Place
	for _, h := range s.hosts {
		places = append(places, natstest.Place{Folder: t.TempDir(), Host: h.address(), Enter: h.enter()})
	}
	var args, more []string
	if *timeline != "" {
		args, more = []string{"--log-level", "debug"}, []string{"debug: true"}
	}
	s.nats = natstest.NewNodes(t, places, "always", more...)
	s.nats.StartAll()
	redis := storetest.Redis(t)
	s.crowd = &crowd{t: t, env: sharedSettings(s.mongo.URL, redis)}
	for _, h := range s.hosts {
		way := natstest.NewProxyOn(t, gateway, redis)
		s.redis = append(s.redis, way)
		n := s.adds(h, s.nats.URL(), args...)
		n.env = []string{"REDIS_URL=redis://" + way.Addr()}
		n.start()
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
	s.goesOn()
	n.start().serves()
}

func (s *stage) pauseLeader(t *testing.T) {
	n := s.leader(s.nodes...)
	n.signal(syscall.SIGSTOP)
	s.leader(s.others(n)...)
	s.goesOn()
	n.signal(syscall.SIGCONT)
	s.follows(t, n)
}

func (s *stage) killNATS(*testing.T) {
	leads := s.nats.Leader("EVENTS")
	s.nats.Kill(leads)
	s.goesOn()
	s.nats.Start(leads)
	s.recovers()
}

func (s *stage) cut(t *testing.T, sending, hearing bool) {
	n := s.leader(s.nodes...)
	rest := without(s.hosts, n.host)
	part := func(yes bool) {
		if sending {
			reach(t, []*host{n.host}, rest, yes)
		}
		if hearing {
			reach(t, rest, []*host{n.host}, yes)
		}
	}
	part(false)
	s.notes.add("cut: %s", n.host.ip)
	s.goesOn()
	s.notes.add("commands go on")
	time.Sleep(2 * time.Second) // it stays cut off for a while, until the others have given up its routes
	s.goesOn()
	part(true)
	s.notes.add("healed")
	if *rounds > 0 {
		s.recovers()
	}
	s.goesOn()
}

// recovers waits until all NATS servers have all, and somebody leads.
func (s *stage) recovers() {
	s.t.Helper()
	s.nats.AwaitRecovery()
	s.leader(s.nodes...)
}

func (s *stage) cutOff(t *testing.T)     { s.cut(t, true, true) }
func (s *stage) cutSending(t *testing.T) { s.cut(t, true, false) }
func (s *stage) cutHearing(t *testing.T) { s.cut(t, false, true) }

func (s *stage) stopLeader(t *testing.T) {
	n := s.leader(s.nodes...)
	n.signal(syscall.SIGTERM)
	<-n.ended
	s.goesOn()
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
	t.Errorf("the old leader does not follow: %q\n%s", n.role(), n.hasSaid())
}

// begins lets callers at the servers. Each request goes to any of them, and so does each look at
// what has come of it.
func (s *stage) begins() (callers *sync.WaitGroup) {
	s.t.Helper()
	const people = 6
	s.load = newLoad(s.t)
	s.load.prepare(s.leader(s.nodes...).world(), people)
	return s.load.drive(drive{
		at:        func() string { return s.nodes[rand.IntN(len(s.nodes))].url() },
		elsewhere: true, look: true, patience: 3 * time.Second, pause: 10 * time.Millisecond,
	}, people)
}

// goesOn waits until commands are acknowledged that were asked from now on.
func (s *stage) goesOn() {
	s.t.Helper()
	s.await(&s.load.all)
}

// peopleGoOn is goesOn for what needs the views, too: who has a session is looked up there.
func (s *stage) peopleGoOn() {
	s.t.Helper()
	s.await(&s.load.ofPeople)
}

func (s *stage) await(acknowledged *stream) {
	s.t.Helper()
	const more = 12 // twice as many as there are callers: each had asked for one at most
	if s.load.await(acknowledged, more) {
		return
	}
	s.keepTimeline(s.t, "a minute without an acknowledgement", awaitMax)
	for _, n := range s.nodes {
		s.t.Logf("%s: %s\n%s", n.url(), n.role(), n.hasSaid())
	}
	s.t.Fatal("no command is acknowledged any more")
}

func TestAClusterKeepsItsPromisesWhateverFails(t *testing.T) {
	s := newStage(t)
	callers := s.begins()
	for _, f := range clusterFaults {
		if *rounds == 0 && !f.short || !strings.Contains(f.name, *faults) {
			continue
		}
		if f.network && s.hosts[0] == nil {
			t.Logf("SKIPPED, NOTHING IS TESTED: %s", f.name)
			continue
		}
		if *rounds > 0 {
			s.recovers()
		}
		s.goesOn()
		before, _ := s.load.measured()
		var worst, people time.Duration
		for round := range max(1, *rounds) {
			s.load.forgetLongest()
			s.noteRound(f.name)
			f.happen(s, t)
			_, longest := s.load.measured()
			worst, people = max(worst, longest), max(people, s.load.peopleWaited())
			s.keepTimeline(t, fmt.Sprintf("%s-%d", f.name, round+1), longest)
		}
		after, _ := s.load.measured()
		t.Logf("| %s | %d | %d | longest gap %.1f s, of people's commands %.1f s |",
			f.name, max(1, *rounds), after-before, worst.Seconds(), people.Seconds())
		if people > 30*time.Second {
			t.Errorf("%s: nothing that people asked for was acknowledged for %v", f.name, people)
		}
	}
	s.load.stop()
	callers.Wait()
	s.recovers()
	s.check(t)
}

// check holds the log, and the views, against what was acknowledged.
func (s *stage) check(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log, err := openLogIn(ctx, t.TempDir(), logPlace{nats: s.nats.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	last, err := log.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	store, err := mongo.Open(ctx, s.mongo.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(ctx)
	follower := projections.NewFollower(store, projections.Catalogue(), nil)
	go func() { _ = follower.Run(ctx) }()
	if err := follower.Wait(ctx, last); err != nil {
		t.Fatalf("the views do not get to the log's end: %v", err)
	}
	v, err := s.load.judgeAll(ctx, log, store)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range v.all() {
		t.Error(problem)
	}
	t.Logf("%d calls, %d commands acknowledged (of those in bulk, each one), %d lost, %d doubled, %d wrong; the log ends at %d",
		s.load.asked, v.acknowledged, len(v.lost), len(v.doubled), len(v.wrong), last)
	if v.acknowledged < 100 {
		t.Errorf("only %d commands were acknowledged; that shows nothing", v.acknowledged)
	}
}

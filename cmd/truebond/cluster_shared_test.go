package main

import (
	"slices"
	"testing"
	"time"
)

// Faults of what a cluster's servers share: MongoDB and Redis.

func (s *stage) killMongo(*testing.T) {
	leads := s.mongo.Primary()
	s.mongo.Kill(leads)
	s.mongoFailsOver(leads)
	s.mongo.Start(leads)
	s.mongo.AwaitRecovery()
	s.peopleGoOn()
}

func (s *stage) cutMongo(t *testing.T) {
	leads := s.mongo.Primary()
	s.apart[leads].unplug(t, true)
	s.mongoFailsOver(leads)
	s.apart[leads].unplug(t, false)
	s.mongo.AwaitRecovery()
	s.peopleGoOn()
}

func (s *stage) hangMongo(t *testing.T) {
	leads := s.mongo.Primary()
	s.mongo.Freeze(leads)
	s.notes.add("mongod %d hangs", leads+1)
	time.Sleep(2500 * time.Millisecond) // members report at least every 2 seconds, by electionTimeoutMillis
	s.apart[leads].unplug(t, true)
	s.mongoFailsOver(leads)
	s.apart[leads].unplug(t, false)
	s.mongo.Thaw(leads)
	s.mongo.AwaitRecovery()
	s.peopleGoOn()
}

func (s *stage) mongoFailsOver(gone int) {
	s.t.Helper()
	s.notes.add("mongod %d is gone", gone+1)
	s.notes.add("mongod %d leads", s.mongo.Primary()+1)
	s.peopleGoOn()
	s.notes.add("people's commands go on")
}

func (s *stage) cutSide(t *testing.T) {
	n, leads := s.leader(s.nodes...), s.mongo.Primary()
	side := []*host{n.host, s.apart[leads]}
	rest := append(without(s.hosts, n.host), without(s.apart, s.apart[leads])...)
	part := func(yes bool) {
		reach(t, side, rest, yes)
		reach(t, rest, side, yes)
	}
	part(false)
	s.notes.add("cut: %s and %s", n.host.ip, s.apart[leads].ip)
	s.leader(s.others(n)...)
	s.notes.add("another server leads")
	for s.mongo.Primary() == leads { // it believes so for some seconds more
		time.Sleep(50 * time.Millisecond)
	}
	s.peopleGoOn()
	s.notes.add("people's commands go on")
	part(true)
	s.notes.add("healed")
	s.recovers()
	s.mongo.AwaitRecovery()
	s.peopleGoOn()
}

func (s *stage) loseRedis(n *node, goOn func()) {
	way := s.redis[slices.Index(s.nodes, n)]
	way.Freeze()
	s.notes.add("%s has lost Redis", n.url())
	goOn()
	time.Sleep(2 * time.Second)
	goOn()
	way.Heal()
	s.notes.add("healed")
	s.peopleGoOn()
}

func (s *stage) loseRedisAtLeader(*testing.T) {
	n := s.leader(s.nodes...)
	s.loseRedis(n, func() {
		s.leader(s.others(n)...)
		s.peopleGoOn()
	})
}

func (s *stage) loseRedisEverywhere(t *testing.T) {
	n := s.leader(s.nodes...)
	for _, way := range s.redis {
		way.Freeze()
	}
	s.notes.add("all have lost Redis")
	s.goesOn()
	time.Sleep(5 * time.Second)
	s.goesOn()
	for _, way := range s.redis {
		way.Heal()
	}
	s.notes.add("healed")
	s.peopleGoOn()
	if s.leader(s.nodes...) != n {
		t.Errorf("%s does not lead any more", n.url())
	}
}

func (s *stage) loseMongoAtLeader(t *testing.T) {
	n := s.leader(s.nodes...)
	reach(t, []*host{n.host}, s.apart, false)
	s.notes.add("%s has lost MongoDB", n.url())
	s.leader(s.others(n)...)
	s.notes.add("another server leads")
	s.peopleGoOn()
	s.notes.add("people's commands go on")
	reach(t, []*host{n.host}, s.apart, true)
	s.notes.add("healed")
	s.follows(t, n)
	s.peopleGoOn()
}

func (s *stage) loseRedisAtFollower(*testing.T) {
	s.loseRedis(s.others(s.leader(s.nodes...))[0], s.peopleGoOn)
}

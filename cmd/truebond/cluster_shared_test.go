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

// hangMongo has others wait for answers to what the primary has taken in, and confirmed so far as
// its kernel does: nothing is left to be sent again that would show that it is gone.
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

// mongoFailsOver waits until all goes on without a primary that is gone.
func (s *stage) mongoFailsOver(gone int) {
	s.t.Helper()
	s.notes.add("mongod %d is gone", gone+1)
	s.notes.add("mongod %d leads", s.mongo.Primary()+1)
	s.peopleGoOn()
	s.notes.add("people's commands go on")
}

// cutSide parts the leader, its NATS server and MongoDB's primary, who reach each other, from all
// the rest. People and Redis are reached from both sides.
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

// loseRedis has a server hear nothing of Redis for a while, as all others do.
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

// Limits are counted by who leads. Without Redis, people would be sent away: one who has it leads.
func (s *stage) loseRedisAtLeader(*testing.T) {
	n := s.leader(s.nodes...)
	s.loseRedis(n, func() {
		s.leader(s.others(n)...)
		s.peopleGoOn()
	})
}

// loseRedisEverywhere leaves the lease where it is: nobody would do better.
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

// loseMongoAtLeader has all but the leader reach MongoDB.
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

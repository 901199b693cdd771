package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
)

// setSettings are as docs/cluster.md and compose.yaml have them.
func setSettings() bson.M {
	return bson.M{"electionTimeoutMillis": 4000, "catchUpTimeoutMillis": 1000, "heartbeatTimeoutSecs": 3}
}

// A Place is where a server runs.
type Place struct {
	Host  string   // its address; empty: the loopback
	Enter []string // begins the command line of what is to run there
}

// A ReplicaSet is several mongods of the test's own, which can be killed one by one.
type ReplicaSet struct {
	URL string // names all members

	t       testing.TB
	members []*Victim
}

// MongoSet starts a replica set with a member at each place, and waits until all of them take
// part. Skipped and failed as Mongo is.
func MongoSet(t testing.TB, places ...Place) *ReplicaSet {
	t.Helper()
	r := &ReplicaSet{t: t}
	var hosts []string
	var set bson.A
	for i, place := range places {
		m := newVictim(t, place, "mongod", "MONGOD", mongodArgs, mongodPings)
		m.launch()
		r.members = append(r.members, m)
		hosts = append(hosts, m.addr)
		set = append(set, bson.M{"_id": i, "host": m.addr})
	}
	for _, m := range r.members {
		m.await()
	}
	r.URL = "mongodb://" + strings.Join(hosts, ",") + "/truebond?replicaSet=" + setName
	err := r.members[0].administer("replSetInitiate", bson.M{"_id": setName, "members": set, "settings": setSettings()})
	if err != nil {
		t.Fatalf("make a replica set: %v", err)
	}
	// The first election need not be waited for: a member stands for it as soon as it may.
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if r.members[0].administer("replSetStepUp", 1) == nil {
			break
		}
	}
	r.AwaitRecovery()
	return r
}

// Primary is the member that leads, among those that can be reached. It waits until there is
// one that a majority follows.
func (r *ReplicaSet) Primary() int {
	r.t.Helper()
	return r.await("nobody leads the replica set", func([]string) bool { return true })
}

// AwaitRecovery waits until each member follows the primary. Only then may another one fail.
func (r *ReplicaSet) AwaitRecovery() {
	r.t.Helper()
	r.await("the replica set does not recover", func(states []string) bool {
		for _, state := range states {
			if state != "PRIMARY" && state != "SECONDARY" {
				return false
			}
		}
		return true
	})
}

// Logs are the files that the members write their logs to.
func (r *ReplicaSet) Logs() []string {
	var logs []string
	for _, m := range r.members {
		logs = append(logs, m.log)
	}
	return logs
}

// Kill ends a member at once (SIGKILL).
func (r *ReplicaSet) Kill(i int) { r.members[i].Kill() }

// Freeze stops a member in the midst of whatever it does, and Thaw lets it go on.
func (r *ReplicaSet) Freeze(i int) { r.members[i].Freeze() }

// Thaw lets a member go on that was frozen.
func (r *ReplicaSet) Thaw(i int) { r.members[i].Thaw() }

// Start starts a member that does not run.
func (r *ReplicaSet) Start(i int) { r.members[i].Start() }

// await waits until there is a primary by which the members' states are good.
func (r *ReplicaSet) await(otherwise string, good func(states []string) bool) (primary int) {
	r.t.Helper()
	var err error
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for i, m := range r.members {
			if m.running == nil {
				continue
			}
			var states []string
			if states, err = m.states(); err != nil {
				continue
			}
			if states[i] == "PRIMARY" && good(states) {
				return i
			}
			err = fmt.Errorf("by %s, they are %v", m.addr, states)
		}
	}
	r.t.Fatalf("%s: %v", otherwise, err)
	return 0
}

func (v *Victim) administer(command string, value any) error {
	return onMongod(context.Background(), v.addr, func(admin *mongo.Database) error {
		return admin.RunCommand(context.Background(), bson.D{{Key: command, Value: value}}).Err()
	})
}

// states are those of the set's members as this one sees them.
func (v *Victim) states() (states []string, err error) {
	const most = time.Second // one that is cut off does not answer
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	var status struct {
		Members []struct {
			State string `bson:"stateStr"`
		}
	}
	err = onMongod(ctx, v.addr, func(admin *mongo.Database) error {
		return admin.RunCommand(ctx, bson.D{{Key: "replSetGetStatus", Value: 1}}).Decode(&status)
	})
	for _, m := range status.Members {
		states = append(states, m.State)
	}
	return states, err
}

package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/disktest"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

// A site is where a server runs, with all that it needs. It is made for one kind of
// fault, and goes with the test.
type site struct {
	t        *testing.T
	data     string           // the server's data folder
	disks    []*disktest.Disk // what is kept is on these, if there are any
	nodes    *natstest.Nodes  // nil: the log is in the data folder
	mongo    *storetest.Victim
	redis    *storetest.Victim
	mongoURL string // of mongo, or of what stands before it
	server   *child
}

// diskBytes is the size of a site's disks. Their image takes no more than what is written.
const diskBytes = 512 << 20

// onOneNode is a server with all in its data folder, on a disk of its own.
func onOneNode(t *testing.T) *site {
	d := disktest.New(t, diskBytes)
	return &site{t: t, data: filepath.Join(d.Dir, "data"), disks: []*disktest.Disk{d}}
}

// onNodes is a server with its log on NATS nodes, each on a disk of its own.
func onNodes(count int, sync string) func(t *testing.T) *site {
	return func(t *testing.T) *site {
		s := onOneNode(t)
		var folders []string
		for range count {
			d := disktest.New(t, diskBytes)
			s.disks = append(s.disks, d)
			folders = append(folders, d.Dir)
		}
		s.nodes = natstest.NewNodes(t, natstest.In(folders...), sync)
		return s
	}
}

// onFolders is a server whose disks do not fail.
func onFolders(t *testing.T) *site { return &site{t: t, data: t.TempDir()} }

// onThreeNodes is a server with its log on three NATS nodes, whose disks do not fail.
func onThreeNodes(t *testing.T) *site {
	s := onFolders(t)
	s.nodes = natstest.NewNodes(t, natstest.In(t.TempDir(), t.TempDir(), t.TempDir()), "always")
	return s
}

// withMongo is a server with its views in a mongod.
func withMongo(t *testing.T) *site {
	s := onFolders(t)
	s.mongo = storetest.MongoVictim(t)
	s.mongoURL = s.mongo.URL
	return s
}

// withRedis is a server with its limits in a redis-server.
func withRedis(t *testing.T) *site {
	s := onFolders(t)
	s.redis = storetest.RedisVictim(t)
	return s
}

// settings are those of the surroundings, with what the site has.
func (s *site) settings() map[string]string {
	set := map[string]string{}
	if s.mongo != nil {
		set["MONGO_URL"] = s.mongoURL
	}
	if s.redis != nil {
		set["REDIS_URL"] = s.redis.URL
	}
	return set
}

func (s *site) options(t *testing.T) server.Options {
	t.Helper()
	given, err := settings.Read()
	if err != nil {
		t.Fatal(err)
	}
	if s.mongo != nil {
		given.MongoURL = s.mongoURL
	}
	if s.redis != nil {
		given.RedisURL = s.redis.URL
	}
	o := server.Options{Data: s.data, Listen: "127.0.0.1:0", Settings: &given}
	if s.nodes != nil {
		o.NATS, o.Replicas = s.nodes.URL(), len(s.nodes.Stores())
	}
	return o
}

// startOthers starts all that the server needs.
func (s *site) startOthers() {
	if s.nodes != nil {
		s.nodes.StartAll()
	}
	for _, other := range []*storetest.Victim{s.mongo, s.redis} {
		if other != nil {
			other.Start()
		}
	}
}

// start starts everything that does not run.
func (s *site) start() {
	s.t.Helper()
	s.startOthers()
	var set []string
	for name, value := range s.settings() {
		set = append(set, name+"="+value)
	}
	var err error
	if s.server, err = launch(s.t, s.options(s.t), set); err != nil {
		s.t.Fatal(err)
	}
}

// killAll ends all processes at once. What one of them has still acknowledged by then
// is on a disk that failed, or nowhere.
func (s *site) killAll() {
	s.server.kill()
	if s.nodes != nil {
		s.nodes.KillAll()
	}
}

// restartDisks lets the disks come up again, as the journal leaves them.
func (s *site) restartDisks() {
	s.t.Helper()
	for _, d := range s.disks {
		d.Restart(s.t)
	}
}

// check holds the log and the views against what was acknowledged.
func (s *site) check(l *load) (v verdict) {
	s.t.Helper()
	s.startOthers()
	s.t.Run("check", func(t *testing.T) {
		stopped := openParts(t, s.options(t))
		var err error
		if v, err = l.judgeAll(t.Context(), stopped.Log, stopped.Store); err != nil {
			t.Fatal(err)
		}
	})
	return v
}

// checkLog holds the log alone against what was acknowledged, where a server may not
// want to start any more. A log that cannot be read has lost everything.
func (s *site) checkLog(l *load) verdict {
	s.t.Helper()
	s.startOthers()
	history, err := s.readLog()
	if err != nil {
		s.t.Logf("the log: %v", err)
	}
	return l.judge(history)
}

func (s *site) readLog() ([]events.Event, error) {
	codec, err := events.NewCodec()
	if err != nil {
		return nil, err
	}
	o := s.options(s.t)
	log, err := jetstream.Open(s.t.Context(), jetstream.Options{
		Dir: s.data, URL: o.NATS, Replicas: o.Replicas, Codec: codec, OpenTimeout: 10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	return readHistory(ctx, log)
}

// batches counts the atomic batches in the log, by what NATS has on the disk of the first
// node, and the events that came in them.
func (s *site) batches() (batches, inThem int) {
	s.t.Helper()
	store := filepath.Join(s.data, "log")
	if s.nodes != nil {
		store = s.nodes.Stores()[0]
	}
	err := filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".blk") || !strings.Contains(path, "/EVENTS/") {
			return err
		}
		block, err := os.ReadFile(path)
		batches += bytes.Count(block, []byte("Nats-Batch-Commit"))
		inThem += bytes.Count(block, []byte("Nats-Batch-Sequence"))
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	return batches, inThem
}

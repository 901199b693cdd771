package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"truebond/cmd/truebond/disktest"
	"truebond/events/jetstream/natstest"
)

// cutPower cuts the power of all disks, not at quite the same moment.
func cutPower(r *trial) {
	r.load.darkens()
	var all sync.WaitGroup
	for _, d := range r.disks {
		all.Go(func() { d.CutPower(r.t) })
	}
	all.Wait()
}

// killServer needs to do nothing: each round ends with that.
func killServer(*trial) {}

// killFollower kills a node that does not lead the stream.
func killFollower(r *trial) {
	r.killNode((r.nodes.Leader("EVENTS") + 1) % len(r.nodes.Stores()))
}

func killLeader(r *trial) { r.killNode(r.nodes.Leader("EVENTS")) }

func (r *trial) killNode(i int) {
	r.nodes.Kill(i)
	r.goesOn() // with two of three
	r.sleep(100, 500)
	r.nodes.Start(i)
	r.sleep(500, 1500)
	r.goesOn()
}

// fillNodesDisk has the node that leads the log run out of room.
func fillNodesDisk(r *trial) {
	const leave, few = 256 << 10, 16 << 10
	r.failNodesDisk(func(d *disktest.Disk) {
		d.FillUp(r.t, leave)
		for end := time.Now().Add(time.Minute); d.Room(r.t) > few; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				r.t.Fatalf("the node's disk has %d bytes left", d.Room(r.t))
			}
		}
	}, (*disktest.Disk).MakeRoom)
}

// turnNodeReadOnly has the node that leads the log write nothing any more.
func turnNodeReadOnly(r *trial) {
	r.failNodesDisk(func(d *disktest.Disk) { d.TurnReadOnly(r.t) }, (*disktest.Disk).Restart)
}

// failNodesDisk has the disk of the node that leads the log fail: two of three go on. Whoever watches over
// it mends it, and starts the node again.
func (r *trial) failNodesDisk(fail func(*disktest.Disk), mend func(*disktest.Disk, testing.TB)) {
	i := r.nodes.Leader("EVENTS")
	disk := r.disks[1+i]
	fail(disk)
	r.goesOn()
	r.sleep(2000, 4000)
	r.goesOn()
	r.nodes.Kill(i)
	r.goesOn()
	mend(disk, r.t)
	r.nodes.Start(i)
	r.sleep(500, 1500)
	r.goesOn()
}

func killMongo(r *trial) {
	r.mongo.Kill()
	r.sleep(200, 1000)
	r.mongo.Start()
	r.goesOn()
}

func freezeMongo(r *trial) {
	r.mongo.Freeze()
	r.sleep(1000, 4000)
	r.mongo.Thaw()
	r.goesOn()
}

// withSlowMongo is a server whose mongod is reached over a network that takes its time.
func withSlowMongo(t *testing.T) *site {
	s := withMongo(t)
	s.mongo.Start()
	proxy := natstest.NewProxy(t, "tcp://"+s.mongo.Addr())
	proxy.Delay(10 * time.Millisecond)
	s.mongoURL = strings.Replace(s.mongo.URL, s.mongo.Addr(), proxy.Addr(), 1)
	return s
}

func slowMongo(r *trial) {
	r.sleep(500, 1500)
	r.goesOn()
}

func killRedis(r *trial) {
	r.redis.Kill()
	r.goesOn() // what an app and Stripe ask for has no limits
	r.sleep(200, 1000)
	r.redis.Start()
	r.goesOn()
}

// fillDisk leaves some room only, which the server uses up. It is to say so and to stop, as
// it knows no longer what is in the log; whoever watches over it starts it again.
func fillDisk(r *trial) {
	const leave = 1 << 20
	r.disks[0].FillUp(r.t, leave)
	// The views may be the first to take nothing. Who asks again waits for them then, each time
	// for seconds, and one caller alone would hardly write to the log any more.
	more := r.load.run(r.server.url, 16)
	r.stopsBecause("no space left on device")
	more.Wait()
	r.disks[0].MakeRoom(r.t)
	r.start()
	r.callers = r.load.run(r.server.url, 16)
	r.goesOn()
}

// sqliteFault is how SQLite's driver may end the server in one of some thirty rounds: the kernel refuses to
// map a file on such a disk, and leaves a hole where the driver had memory.
const sqliteFault = "signal SIGSEGV"

// turnReadOnly has callers who ask when the disk takes nothing any more: nothing of that is to be acknowledged.
func turnReadOnly(r *trial) {
	r.load.darkens()
	r.disks[0].TurnReadOnly(r.t)
	more := r.load.run(r.server.url, 16)
	r.stopsBecause("read-only file system", sqliteFault)
	more.Wait()
}

// withStoreApart is a server whose views are on a disk apart from its log.
func withStoreApart(t *testing.T) *site {
	s := onFolders(t)
	d := disktest.New(t, diskBytes)
	s.disks = append(s.disks, d)
	if err := os.Chmod(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(d.Dir, "views.db"), filepath.Join(s.data, "views.db")); err != nil {
		t.Fatal(err)
	}
	return s
}

// turnStoreReadOnly takes the views away, and not the log: commands go on.
func turnStoreReadOnly(r *trial) {
	r.disks[0].TurnReadOnly(r.t)
	r.goesOn()
	r.sleep(500, 1500)
	r.saysWhy("readonly database", "disk i/o error")
}

// stopsBecause waits until the server has ended by itself, and demands that it says why, with one of the
// causes.
func (r *trial) stopsBecause(causes ...string) {
	r.t.Helper()
	const most = 3 * time.Minute // a full disk may stop the views first, and then callers wait for them for seconds
	select {
	case <-r.server.ended:
	case <-time.After(most):
		r.t.Fatalf("the server does not stop; it says\n%s", r.server.hasSaid())
	}
	r.callers.Wait()
	said := r.server.hasSaid()
	if _, last, orderly := strings.Cut(said, "\ntruebond: "); orderly {
		said = last
	}
	contains := func(cause string) bool { return strings.Contains(said, cause) }
	if r.server.err == nil || !slices.ContainsFunc(causes, contains) {
		r.t.Errorf("the server ended with %v, and says at last\n%s", r.server.err, r.server.hasSaid())
	}
}

// saysWhy waits until the server names one of the causes.
func (r *trial) saysWhy(causes ...string) {
	r.t.Helper()
	const most = 30 * time.Second
	for begun := time.Now(); time.Since(begun) < most; time.Sleep(50 * time.Millisecond) {
		said, err := os.ReadFile(r.server.said)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, cause := range causes {
			if strings.Contains(strings.ToLower(string(said)), cause) {
				return
			}
		}
	}
	r.t.Errorf("the server does not say %q, but\n%s", causes, r.server.hasSaid())
}

package jetstream

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"truebond/events"
	"truebond/events/jetstream/natstest"
)

func TestAFolderIsForOneLogAlone(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	first := open(t, o)
	_, err := Open(t.Context(), o)
	mentions(t, err, o.Dir, "another process")
	closed(t, first)
	open(t, o)
}

func TestARestartKeepsEverything(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	w := newWriting(t, "a")
	var all []events.Record
	for range 3 {
		l := open(t, o)
		holds(t, l, all)
		for _, count := range []int{1, 20} {
			some := w.next(t, uint64(len(all)), count)
			appended(t, l, uint64(len(all)), some)
			all = append(all, some...)
		}
		closed(t, l)
	}
	l := open(t, o)
	holds(t, l, all)
	if err := l.Check(t.Context(), hashes(all, 1, 21, 63)); err != nil {
		t.Fatal(err)
	}
}

// childFolder names the folder in which this test program, run by itself, appends
// until it is killed.
const childFolder = "TRUEBOND_TEST_APPENDS_IN"

func TestWhatIsAcknowledgedOutlivesAKill(t *testing.T) {
	if dir := os.Getenv(childFolder); dir != "" {
		appendForEver(t, dir)
		return
	}
	dir := t.TempDir()
	for range 3 {
		acknowledged := killed(t, dir)
		o := patient(t)
		o.Dir = dir
		l := open(t, o)
		last, err := l.Last(t.Context())
		if err != nil || last < acknowledged {
			t.Fatalf("%d were acknowledged, %d are in: %v", acknowledged, last, err)
		}
		if all, err := l.ReadRange(t.Context(), 0, int(last)); err != nil || len(all) != int(last) {
			t.Fatalf("%d of %d can be read: %v", len(all), last, err)
		}
		if err := l.Check(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		closed(t, l)
	}
}

// appendForEver tells each acknowledged position on its standard output.
func appendForEver(t *testing.T, dir string) {
	o := patient(t)
	o.Dir = dir
	l := open(t, o)
	last, err := l.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWriting(t, fmt.Sprint("from ", last))
	for i := 0; ; i++ {
		some := w.next(t, last, 1+(i%3)*50)
		appended(t, l, last, some)
		last += uint64(len(some))
		fmt.Println("acknowledged", last)
	}
}

// killed lets a process of its own append, kills it while it does, and tells the last
// position that it had acknowledged. While it runs, nobody else may open the folder.
func killed(t *testing.T, dir string) (last uint64) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$") // #nosec G204 -- this program
	child.Env = append(os.Environ(), childFolder+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	told := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &last); err != nil {
			continue
		}
		if told++; told == 5 {
			o := patient(t)
			o.Dir = dir
			_, err := Open(t.Context(), o)
			mentions(t, err, dir, "another process")
		}
		if told == 25 {
			_ = child.Process.Kill()
		}
	}
	_ = child.Wait() // it was killed
	if told < 25 {
		t.Fatalf("it ended after %d appends", told)
	}
	return last
}

func TestAnotherStreamIsRefused(t *testing.T) {
	for name, change := range map[string]func(c *server.StreamConfig){
		"max_age":              func(c *server.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs":             func(c *server.StreamConfig) { c.MaxMsgs = 1000 },
		"max_bytes":            func(c *server.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max_msgs_per_subject": func(c *server.StreamConfig) { c.MaxMsgsPer = 1 },
		"discard":              func(c *server.StreamConfig) { c.Discard = server.DiscardOld },
		"retention":            func(c *server.StreamConfig) { c.Retention = server.InterestPolicy },
		"storage":              func(c *server.StreamConfig) { c.Storage = server.MemoryStorage },
		"deny_delete":          func(c *server.StreamConfig) { c.DenyDelete = false },
		"deny_purge":           func(c *server.StreamConfig) { c.DenyPurge = false },
		"allow_rollup_hdrs":    func(c *server.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false },
		"allow_msg_ttl":        func(c *server.StreamConfig) { c.AllowMsgTTL = true },
		"allow_atomic":         func(c *server.StreamConfig) { c.AllowAtomicPublish = false },
		"compression":          func(c *server.StreamConfig) { c.Compression = server.S2Compression },
		"subjects":             func(c *server.StreamConfig) { c.Subjects = []string{"events.message.>"} },
		"first_seq":            func(c *server.StreamConfig) { c.FirstSeq = 10 },
		"no_ack":               func(c *server.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false },
	} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Server(t, t.TempDir())
			c := settings(1)
			change(&c)
			makeStream(t, connected(t, s), "CREATE", c)
			o := patient(t)
			o.URL, o.Replicas = s.ClientURL(), 1
			_, err := Open(t.Context(), o)
			mentions(t, err, streamName, name+" is ")
		})
	}
}

func TestAStreamWithTooFewReplicasIsRefused(t *testing.T) {
	o := patient(t)
	o.URL, _ = natstest.Cluster(t)
	o.Replicas = 1
	closed(t, open(t, o))
	o.Replicas = 3
	_, err := Open(t.Context(), o)
	mentions(t, err, "num_replicas is 1 and must be 3")
}

func TestAnAddressWithoutAServerIsToldWithoutItsPassword(t *testing.T) {
	o := patient(t)
	o.URL, o.OpenTimeout = "nats://ann:secret@127.0.0.1:1", 50*time.Millisecond
	_, err := Open(t.Context(), o)
	mentions(t, err, "nats://127.0.0.1:1")
	if strings.Contains(err.Error(), "secret") {
		t.Fatal(err)
	}
}

func TestAGapStopsEveryReader(t *testing.T) {
	s := natstest.Server(t, t.TempDir())
	conn := connected(t, s)
	c := settings(1)
	c.DenyDelete = false
	makeStream(t, conn, "CREATE", c)
	w := newWriting(t, "a")
	all := w.next(t, 0, 20)
	for _, r := range all {
		publish(t, conn, r)
	}
	request(t, conn, "STREAM.MSG.DELETE."+streamName, map[string]uint64{"seq": 12})
	makeStream(t, conn, "UPDATE", settings(1))

	o := patient(t)
	o.URL, o.Replicas = s.ClientURL(), 1
	l := open(t, o)
	failsWith(t, l.Check(t.Context(), nil), events.ErrGap)
	_, err := l.ReadRange(t.Context(), 0, 20)
	failsWith(t, err, events.ErrGap)
	mentions(t, err, "12")
	_, err = l.Read(t.Context(), 12)
	failsWith(t, err, ErrNotFound)
	var seen []events.Record
	failsWith(t, l.Follow(t.Context(), 0, 100, until(&seen, 20)), events.ErrGap)
	same(t, seen, all[:11])
	failsWith(t, l.Follow(t.Context(), 11, 100, until(&seen, 20)), events.ErrGap)
}

func TestALogThatDoesNotBeginAtOneIsRefused(t *testing.T) {
	s := natstest.Server(t, t.TempDir())
	conn := connected(t, s)
	c := settings(1)
	c.DenyPurge = false
	makeStream(t, conn, "CREATE", c)
	for _, r := range newWriting(t, "a").next(t, 0, 5) {
		publish(t, conn, r)
	}
	request(t, conn, "STREAM.PURGE."+streamName, map[string]uint64{"seq": 3})
	makeStream(t, conn, "UPDATE", settings(1))
	o := patient(t)
	o.URL, o.Replicas = s.ClientURL(), 1
	l := open(t, o)
	err := l.Check(t.Context(), nil)
	failsWith(t, err, events.ErrGap)
	mentions(t, err, "begins with event 3")
}

func checkKnowsTheLogAgain(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	all := w.next(t, 0, 20)
	appended(t, l, 0, all)
	if err := l.Check(t.Context(), hashes(all, 1, 7, 20)); err != nil {
		t.Fatal(err)
	}
	stored := hashes(all, 1, 20)
	stored[7] = stored[1]
	mentions(t, l.Check(t.Context(), stored), "event 7 is not the one")
	stored = hashes(all, 1)
	stored[21] = stored[1]
	err := l.Check(t.Context(), stored)
	failsWith(t, err, events.ErrShort)
	mentions(t, err, "event 21", "ends at 20")
	mentions(t, l.Check(t.Context(), map[uint64][]byte{3: nil}), "event 3 is not the one")
}

// A flipped bit makes the server drop an event, or all behind it, without an error. So a log with one
// is not opened; when it is all the same, to be mended, nothing else is lost.
func TestDamagedFilesAreFound(t *testing.T) {
	for _, withIndex := range []bool{true, false} {
		t.Run(fmt.Sprint("index ", withIndex), func(t *testing.T) {
			o, all := written(t, 50)
			damage(t, o.Dir, all[24].Body, withIndex)

			o.Durable = 50
			_, err := Open(t.Context(), o)
			failsWith(t, err, ErrRotten)
			mentions(t, err, "event 25", "1.blk")

			o.Damaged = true
			l := open(t, o)
			failsWith(t, l.Check(t.Context(), hashes(all, 10, 50)), events.ErrGap)
			var seen []events.Record
			err = l.Follow(t.Context(), 0, 100, until(&seen, 50))
			failsWith(t, err, events.ErrGap)
			same(t, seen, all[:24])
			rest, err := l.ReadRange(t.Context(), 25, 50)
			if err != nil {
				t.Fatal(err)
			}
			same(t, rest, all[25:])
		})
	}
}

// damage flips a bit in the file that has this body, and may remove the index that
// was written when the server stopped.
func damage(t *testing.T, dir string, body []byte, withIndex bool) {
	t.Helper()
	hit := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if d.Name() == "index.db" && !withIndex {
			return os.Remove(path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if at := bytes.Index(content, body); at >= 0 {
			hit++
			content[at+len(body)/2] ^= 1
			return os.WriteFile(path, content, 0o600)
		}
		return nil
	})
	if err != nil || hit != 1 {
		t.Fatalf("%d files have the event: %v", hit, err)
	}
}

func hashes(all []events.Record, positions ...uint64) map[uint64][]byte {
	stored := map[uint64][]byte{}
	for _, p := range positions {
		sum := sha256.Sum256(all[p-1].Body)
		stored[p] = sum[:]
	}
	return stored
}

func connected(t *testing.T, s *server.Server) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func makeStream(t *testing.T, conn *nats.Conn, verb string, c server.StreamConfig) {
	t.Helper()
	request(t, conn, "STREAM."+verb+"."+streamName, c)
}

func request(t *testing.T, conn *nats.Conn, verb string, what any) {
	t.Helper()
	body := []byte(nil)
	if what != nil {
		body = []byte(jsonOf(what))
	}
	answer, err := conn.Request("$JS.API."+verb, body, 10*time.Second)
	if err != nil || bytes.Contains(answer.Data, []byte(`"error"`)) {
		t.Fatalf("%s: %v %s", verb, err, answer.Data)
	}
}

func publish(t *testing.T, conn *nats.Conn, r events.Record) {
	t.Helper()
	var d draft
	if _, err := conn.RequestMsg(d.of(r, newCodec(t)), 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestALeaderThatNobodyFollowsIsNotBelieved(t *testing.T) {
	info := func(last uint64, active ...time.Duration) (i streamInfo) {
		i.State.LastSeq = last
		for _, a := range active {
			i.Cluster.Replicas = append(i.Cluster.Replicas, struct {
				Active time.Duration `json:"active"`
			}{a})
		}
		return i
	}
	for name, test := range map[string]struct {
		info     streamInfo
		replicas int
		old      bool
	}{
		"one server alone":                {info(7), 1, false},
		"both others follow":              {info(7, time.Second, time.Second), 3, false},
		"one other follows":               {info(7, time.Second, time.Minute), 3, false},
		"nobody has followed for a while": {info(7, 4*time.Second, time.Minute), 3, true},
		"it has less than it had":         {info(6, 0, 0), 3, true},
	} {
		if test.info.old(test.replicas, 7) != test.old {
			t.Errorf("%s: it is believed: %v", name, test.old)
		}
	}
}

// Followers tell an idle leader, too, that they follow.
func TestALogThatRestsIsBelieved(t *testing.T) {
	o := patient(t)
	o.URL, _ = natstest.Cluster(t)
	l := open(t, o)
	w := newWriting(t, "a")
	appended(t, l, 0, w.next(t, 0, 3))
	time.Sleep(2 * contactMax)
	began := time.Now()
	if last, err := l.Last(t.Context()); err != nil || last != 3 || time.Since(began) > time.Second {
		t.Errorf("after %v it ends at %d: %v", time.Since(began), last, err)
	}
}

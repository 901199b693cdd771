package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/mongo"
	mongooptions "go.mongodb.org/mongo-driver/mongo/options"

	"truebond/cmd/truebond/server"
	"truebond/commands/cluster"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

// A ruin is what is left of a cluster that has lost its NATS servers: the archive, the
// database, and one server's data folder.
type ruin struct {
	*crowd
	mongo         string
	archive, data string
	log           [][]byte // as it was
	early         uint64   // before somebody was erased
	person        *person
	gone          string
	other         string // the archive of another log
}

func newRuin(t *testing.T) *ruin {
	t.Helper()
	other := newKeeper(t)
	other.serves("another", other.data, func(w *world) {
		w.grows()
		w.archives()
	})
	r := &ruin{mongo: storetest.Mongo(t), archive: t.TempDir(), other: other.archive}
	r.crowd = &crowd{t: t, env: sharedSettings(r.mongo, storetest.Redis(t))}
	for _, setting := range r.env {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	url, _ := natstest.Cluster(t)
	n := r.serves(url, t.TempDir(), r.archive)
	r.data = n.data
	w := n.world()
	r.person, r.gone = w.signsUp(), w.signsUpAs("gone@example.com").id
	_, err := fmt.Sscan(n.world().operate("/api/operator/archive", nil).is(200).get("position"), &r.early)
	if err != nil {
		t.Fatal(err)
	}
	n.world().operate("/api/operator/erase", map[string]any{"user_id": r.gone, "reason": "asked by letter"}).is(200)
	intent := r.person.post("/api/payments/intent/create", map[string]any{"package": "small"}).is(201).get("intent_id")
	r.person.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
	n.world().operate("/api/operator/archive", nil).is(200)
	n.stops()
	r.log = bodies(t, clusterAt(url))
	return r
}

// serves starts a server of the cluster, and waits until it leads.
func (r *ruin) serves(url, data, archive string) *node {
	n := r.adds(nil, url, "--archive", archive, "--archive-every", "1h")
	n.data = data
	n.start().serves()
	return r.leader(n)
}

func (n *node) stops() {
	n.signal(syscall.SIGTERM)
	<-n.ended
}

// refuses demands that a server ends at its start, and what it says then.
func (r *ruin) refuses(t *testing.T, url, data, says string) {
	t.Helper()
	n := r.adds(nil, url, "--archive", server.Nowhere)
	n.data = data
	n.start()
	select {
	case <-n.ended:
	case <-time.After(time.Minute):
		t.Error("the server does not end")
		n.signal(syscall.SIGKILL)
		<-n.ended
	}
	if !strings.Contains(n.hasSaid(), says) {
		t.Errorf("the server does not say %q: %s", says, n.hasSaid())
	}
}

func (r *ruin) restore(url, archive string, more ...string) said {
	r.t.Helper()
	return truebond(r.t, "", append([]string{"restore", "--from", archive, "--data", r.data, "--nats", url}, more...)...)
}

func TestTheLogOfAClusterIsRestored(t *testing.T) {
	r := newRuin(t)
	if !t.Run("whole, and goes on", r.wholeAndGoesOn) {
		return // the others go by what it has left
	}
	t.Run("telling of a loss first", r.tellingOfALossFirst)
	t.Run("beside nothing else", r.besideNothingElse)
	t.Run("although it was cut off", r.althoughItWasCutOff)
	t.Run("until a moment", r.untilAMoment)
}

func (r *ruin) wholeAndGoesOn(t *testing.T) {
	url, _ := natstest.Cluster(t)
	r.restore(url, r.archive).ends(t, exitDone, fmt.Sprintf("Restored and read back: %d events.", len(r.log)))
	same(t, bodies(t, clusterAt(url)), r.log, len(r.log))
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := stream.StreamInfo("EVENTS"); err != nil || info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 {
		t.Errorf("the stream is %+v: %v", info, err)
	}
	truebond(t, "", "verify", "--data", r.data, "--nats", url).ends(t, exitDone, "sound")
	r.restore(url, r.archive).ends(t, exitDone, "Nothing was changed")
	r.restore(url, r.archive, "--until", "3").ends(t, exitFailed, "on a cluster that has none")

	n := r.serves(url, r.data, r.archive)
	r.person.at(n).has(60) // its session and its views are there, too
	r.person.at(n).get("/api/auth/me").is(200)
	n.world().signsUpAs("later@example.com")
	truebond(t, "", "restore", "--from", r.archive, "--data", t.TempDir(), "--nats", url).
		ends(t, exitFailed, "stop all servers first")
	n.world().operate("/api/operator/archive", nil).is(200)
	r.log = bodies(t, clusterAt(url))
	n.world().signsUpAs("lost@example.com").get("/api/auth/me").is(200) // now the views know of it
	n.stops()
}

func (r *ruin) tellingOfALossFirst(t *testing.T) {
	url, _ := natstest.Cluster(t)
	loss := fmt.Sprintf("event %d cannot be kept", len(r.log)+1)
	r.restore(url, r.archive).ends(t, exitFailed, loss)
	if found := bodies(t, clusterAt(url)); len(found) > 0 {
		t.Errorf("it has put %d events into the log", len(found))
	}
	r.restore(url, r.archive, "--accept-loss").ends(t, exitDone, "Lost: "+loss)
	same(t, bodies(t, clusterAt(url)), r.log, len(r.log))
	r.refuses(t, url, r.data, "the log ends too early") // the views know more
}

func (r *ruin) besideNothingElse(t *testing.T) {
	url, _ := natstest.Cluster(t)
	onLog(t, clusterAt(url), func(log *jetstream.Log) { appendBodies(t, log, r.log[:3], 0) })
	r.restore(url, r.other, "--unsigned").ends(t, exitFailed, "nothing was changed")
	changed := append([][]byte{}, r.log[:5]...)
	changed[3] = []byte(strings.Replace(string(changed[3]), `"time"`, `"time" `, 1))
	second, _ := natstest.Cluster(t)
	onLog(t, clusterAt(second), func(log *jetstream.Log) { appendBodies(t, log, changed, 0) })
	r.restore(second, r.archive).ends(t, exitFailed, "event 4 of the cluster's log is not the archive's")
	same(t, bodies(t, clusterAt(second)), changed, len(changed))
	third, _ := natstest.Cluster(t)
	onLog(t, clusterAt(third), func(log *jetstream.Log) {
		appendBodies(t, log, r.log, 0)
		appendNewer(t, log, uint64(len(r.log)))
	})
	r.restore(third, r.archive, "--accept-loss").ends(t, exitFailed, "restore with that program")
}

// appendBodies puts events into a log as they are.
func appendBodies(t *testing.T, log *jetstream.Log, bodies [][]byte, after uint64) {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	var records []events.Record
	for i, body := range bodies {
		e, err := codec.Decode(after+uint64(i)+1, body)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, events.Record{Event: e, Body: body})
	}
	if err := log.Append(t.Context(), after, records); err != nil {
		t.Fatal(err)
	}
}

func (r *ruin) althoughItWasCutOff(t *testing.T) {
	url, _ := natstest.Cluster(t)
	objects, err := filepath.Glob(filepath.Join(r.archive, "log", "*.zst"))
	if err != nil || len(objects) == 0 {
		t.Fatal("the archive is empty", err)
	}
	newest := objects[len(objects)-1]
	content, err := os.ReadFile(newest)
	if err == nil {
		err = os.WriteFile(newest, content[:len(content)-20], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.restore(url, r.archive).ends(t, exitFailed, "damaged")
	if err := os.WriteFile(newest, content, 0o600); err != nil {
		t.Fatal(err)
	}
	// As if it had got to the third event.
	conn, err := cluster.Connect(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cluster.BeginRestore(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	onLog(t, clusterAt(url), func(log *jetstream.Log) { appendBodies(t, log, r.log[:3], 0) })
	r.refuses(t, url, t.TempDir(), "a restore into the cluster is under way, or was cut off")
	r.restore(url, r.archive).ends(t, exitDone, "Restored and read back")
	same(t, bodies(t, clusterAt(url)), r.log, len(r.log))
	if unfinished, err := cluster.RestoreUnfinished(t.Context(), conn); err != nil || unfinished {
		t.Errorf("servers are kept away still: %v %v", unfinished, err)
	}
}

func (r *ruin) untilAMoment(t *testing.T) {
	url, _ := natstest.Cluster(t)
	until := []string{"--until", fmt.Sprint(r.early)}
	r.restore(url, r.archive, until...).ends(t, exitDone, "1 person was erased later")
	same(t, bodies(t, clusterAt(url)), r.log, int(r.early))
	r.refuses(t, url, t.TempDir(), "drop the database of MONGO_URL (not the one with _vault behind its name")
	client, err := mongo.Connect(t.Context(), mongooptions.Client().ApplyURI(r.mongo))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context()) //nolint:errcheck // the test ends
	name := r.mongo[strings.LastIndexByte(r.mongo, '/')+1:]
	name, _, _ = strings.Cut(name, "?")
	if err := client.Database(name).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Whichever server comes first erases again, not only that of the data folder.
	n := r.serves(url, t.TempDir(), server.Nowhere)
	w := n.world()
	w.logsIn("gone@example.com", password).is(401)
	w.logsIn(r.person.email, password).is(200)
	n.stops()
	last := bodies(t, clusterAt(url))
	erased := false
	for _, body := range last[r.early:] {
		erased = erased || strings.Contains(string(body), "user.erased") && strings.Contains(string(body), r.gone)
	}
	if !erased {
		t.Errorf("of %s's erasure nothing is in the log: %s", r.gone, last[r.early:])
	}
}

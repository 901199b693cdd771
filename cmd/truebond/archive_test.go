package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/commands/blob/blobtest"
	"truebond/events"
	"truebond/events/jetstream"
)

// A keeper is an operator with a data folder and an archive.
type keeper struct {
	t       *testing.T
	data    string
	archive string
	grown   int64 // how often the log was made to grow
}

func newKeeper(t *testing.T) *keeper {
	return &keeper{t: t, data: t.TempDir(), archive: t.TempDir()}
}

// serves has a server do something on a data folder, with the archive, and stops it.
func (k *keeper) serves(name, data string, work func(w *world)) {
	k.t.Helper()
	k.t.Run(name, func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", Archive: k.archive, ArchiveEvery: time.Hour})
		w.people.Store(k.grown) // nobody signs up twice
		w.keys.Store(k.grown)
		work(w)
		k.grown += 100
	})
	if k.t.Failed() {
		k.t.FailNow()
	}
}

// grows puts some events into the log, and waits until they are signed.
func (w *world) grows() {
	w.t.Helper()
	var position string
	for range 5 {
		name := fmt.Sprintf("key-%d", w.keys.Add(1))
		made := w.operate("/api/operator/api-keys", map[string]any{"name": name, "scopes": []string{"credits:deduct"}}).is(201)
		position = made.header.Get("Ledger-Position")
	}
	w.checkpoint("Ledger-Position", position)
}

// archives brings the archive up to now, and tells where it is.
func (w *world) archives() (position uint64) {
	w.t.Helper()
	a := w.operate("/api/operator/archive", nil).is(200)
	if _, err := fmt.Sscan(a.get("position"), &position); err != nil || position == 0 {
		w.t.Fatalf("it archived up to %s", a.body)
	}
	return position
}

// bodies are the exact bytes of a data folder's log, while no server runs on it.
func bodies(t *testing.T, log jetstream.Options) (all [][]byte) {
	t.Helper()
	onLog(t, log, func(log *jetstream.Log) {
		last, err := log.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all, err = log.ReadBodies(t.Context(), 0, int(last)); last > 0 && err != nil {
			t.Fatal(err)
		}
	})
	return all
}

// embeddedIn and clusterAt say which log.
func embeddedIn(data string) jetstream.Options { return jetstream.Options{Dir: data} }
func clusterAt(url string) jetstream.Options   { return jetstream.Options{URL: url} }

func onLog(t *testing.T, o jetstream.Options, do func(*jetstream.Log)) {
	t.Helper()
	var err error
	if o.Codec, err = events.NewCodec(); err != nil {
		t.Fatal(err)
	}
	log, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	do(log)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// same demands that a log is another one up to a position.
func same(t *testing.T, got, want [][]byte, upTo int) {
	t.Helper()
	if len(got) != upTo || len(want) < upTo {
		t.Fatalf("the log has %d events and not %d", len(got), upTo)
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("event %d is %s and was %s", i+1, got[i], want[i])
		}
	}
}

// copies copies what a new data folder needs beside the log.
func copies(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// newData is a new data folder with the vault and the secrets of another one.
func newData(t *testing.T, of string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "new")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	copies(t, of, folder, keepsakes...)
	return folder
}

var keepsakes = []string{datafolder.VaultFile, datafolder.JWTSecretFile, datafolder.WebhookSecretFile}

func TestALogIsArchivedAndRestoredAndGoesOn(t *testing.T) {
	t.Parallel() // it mostly waits
	k := newKeeper(t)
	var email string
	var position uint64
	k.serves("serve", k.data, func(w *world) {
		user := w.signsUp()
		email = user.email
		user.sends(w.signsUp(), "before")
		position = w.archives()
		ready := w.ask("GET", "/readyz", "", nil).is(200)
		if !strings.Contains(string(ready.body), `{"name":"archive","ok":true,"detail":"0 events behind"}`) {
			t.Errorf("readyz says %s", ready.body)
		}
		metrics := string(w.ask("GET", "/metrics", "", nil).is(200).body)
		for _, line := range []string{fmt.Sprintf("truebond_archive_position %d\n", position),
			"truebond_archive_behind_events 0\n", "truebond_archive_failures_total 0\n"} {
			if !strings.Contains(metrics, line) {
				t.Errorf("the metrics have no %s", line)
			}
		}
	})
	before := bodies(t, embeddedIn(k.data))
	truebond(t, "", "verify", "--archive", k.archive).ends(t, exitDone, fmt.Sprintf("%d events", position))
	restored := newData(t, k.data)
	truebond(t, "", "restore", "--from", k.archive, "--data", restored).ends(t, exitDone,
		fmt.Sprintf("Restored and read back: %d events.", position))
	same(t, bodies(t, embeddedIn(restored)), before, int(position))
	k.serves("go on", restored, func(w *world) {
		w.logsIn(email, password).is(200)
		w.grows()
		position = w.archives()
	})
	truebond(t, "", "verify", "--data", restored).ends(t, exitDone, "sound")
	truebond(t, "", "verify", "--archive", k.archive).ends(t, exitDone, fmt.Sprintf("%d events", position))
	again := t.TempDir()
	truebond(t, "", "restore", "--from", k.archive, "--data", again).ends(t, exitMisused, "--key")
	truebond(t, "", "restore", "--from", k.archive, "--data", again, "--unsigned").ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(again)), bodies(t, embeddedIn(restored)), int(position))
}

func TestARestoredLogHasTheHeadersThatTheOldOneHad(t *testing.T) {
	t.Parallel() // it mostly waits
	k := newKeeper(t)
	k.serves("serve", k.data, func(w *world) {
		w.signsUp()
		w.grows()
		w.archives()
	})
	restored := t.TempDir()
	truebond(t, "", "restore", "--from", k.archive, "--data", restored, "--unsigned").ends(t, exitDone, "")
	was, is := messages(t, k.data), messages(t, restored)
	if len(was) < 3 || len(is) > len(was) {
		t.Fatalf("there are %d messages and were %d", len(is), len(was))
	}
	for i := range is {
		if is[i] != was[i] {
			t.Errorf("message %d is %s\nand was %s", i+1, is[i], was[i])
		}
	}
}

// A log is archived while no server runs on it, too, and to a bucket.
func TestALogIsArchivedToABucketAndRestoredFromIt(t *testing.T) {
	s3 := blobtest.S3(t) // which is found from here
	alone(t)
	for name, value := range map[string]string{"PROVIDER": s3.URL, "KEY": s3.Key, "SECRET": s3.Secret,
		"BUCKET": s3.Bucket + "/prod"} {
		t.Setenv("CLOUD_STORAGE_"+name, value)
	}
	k := newKeeper(t)
	k.archive = "" // that is the bucket then
	var position uint64
	k.serves("serve", k.data, func(w *world) {
		position = w.archives()
		w.grows()
	})
	before := bodies(t, embeddedIn(k.data))
	said := truebond(t, "", "archive", "--data", k.data)
	said.ends(t, exitDone, fmt.Sprintf("Archived up to position %d in %s/bucket/prod", len(before), s3.URL))
	if uint64(len(before)) <= position {
		t.Fatalf("the log has not grown behind %d", position)
	}
	truebond(t, "", "verify", "--archive", "bucket").ends(t, exitDone, "sound")
	restored := newData(t, k.data)
	truebond(t, "", "restore", "--from", "bucket", "--data", restored).ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(restored)), before, len(before))
}

func TestAnArchiveOfAnotherLogKeepsAServerFromServing(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.serves("serve", k.data, func(w *world) {
		w.grows()
		w.archives()
	})
	other := t.TempDir()
	_, err := server.Start(t.Context(), server.Options{Data: other, Listen: "127.0.0.1:0", Archive: k.archive})
	if err == nil || !strings.Contains(err.Error(), "the archive has more than the log") {
		t.Errorf("an empty log beside it: %v", err)
	}
	other = t.TempDir()
	t.Run("another log", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: other, Listen: "127.0.0.1:0"})
		w.grows()
		w.grows()
		w.operate("/api/operator/archive", nil).is(409).says("code", "no_archive")
		truebond(t, "", "archive", "--data", other, "--to", k.archive).
			ends(t, exitMisused, "stop this one, or start it with --archive "+k.archive)
	})
	truebond(t, "", "archive", "--data", other, "--to", k.archive).ends(t, exitFailed, "another log")
	truebond(t, "", "archive", "--data", other).ends(t, exitMisused, "--to")
	truebond(t, "", "archive", "--data", filepath.Join(other, "mistyped"), "--to", k.archive).ends(t, exitFailed, "no data folder")
	truebond(t, "", "restore", "--from", filepath.Join(other, "mistyped"), "--data", t.TempDir()).ends(t, exitFailed, "mistyped")
	_, err = server.Start(t.Context(), server.Options{Data: other, Listen: "127.0.0.1:0", Archive: k.archive})
	if err == nil || !strings.Contains(err.Error(), "another log") {
		t.Errorf("another log beside it: %v", err)
	}
}

func TestALogIsArchivedAsItGrowsAndTheServerIsKilled(t *testing.T) {
	t.Parallel()
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	data, store := t.TempDir(), t.TempDir()
	l := prepareLoad(t, data)
	grown := 0
	for range rounds {
		server := spawn(t, data, "--archive", store, "--archive-every", "20ms")
		callers := l.run(server.url, 16)
		time.Sleep(time.Duration(200+rand.IntN(500)) * time.Millisecond) //nolint:gosec // any moment will do
		// On a busy machine, too, there is something to archive.
		if !l.awaitMore(50) {
			t.Fatalf("nothing is acknowledged any more; the server says\n%s", server.hasSaid())
		}
		told := visit(t, data).archivesAll()
		server.kill()
		callers.Wait()
		said := truebond(t, "", "verify", "--archive", store)
		said.ends(t, exitDone, "The archive is sound")
		size := numberIn(t, `sound: (\d+) events`, said.out)
		if size < told || size < grown {
			t.Errorf("the archive had %d events, was said to have %d, and has %d", grown, told, size)
		}
		grown = size
	}
	log := bodies(t, embeddedIn(data))
	restored := newData(t, data)
	truebond(t, "", "restore", "--from", store, "--data", restored).ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(restored)), log, grown)
	if grown < 100 {
		t.Errorf("of %d events %d are archived; that shows nothing", len(log), grown)
	}
	t.Logf("%d kills, %d events, %d archived", rounds, len(log), grown)
}

// archivesAll waits until the server says that all is archived that its log has now, and tells
// how much it says.
func (w *world) archivesAll() (told int) {
	w.t.Helper()
	number := func(name string) (n int) {
		if _, err := fmt.Sscan(w.metric(name), &n); err != nil {
			w.t.Fatal(err)
		}
		return n
	}
	last := number("truebond_log_position")
	for end := time.Now().Add(time.Minute); told < last; told = number("truebond_archive_position") {
		if time.Now().After(end) {
			w.t.Fatalf("of %d events only %d are archived in a minute", last, told)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return told
}

func numberIn(t *testing.T, pattern, text string) (n int) {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("there is no number in %s", text)
	}
	if _, err := fmt.Sscan(found[1], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// messages are what a folder's stream has, as NATS itself reads it: subjects, headers and
// bodies. How they were written together is left out.
func messages(t *testing.T, data string) []string {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		JetStream: true, StoreDir: filepath.Join(data, datafolder.LogFolder), DontListen: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.StreamInfo("EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for position := uint64(1); position <= info.State.LastSeq; position++ {
		m, err := stream.GetMsg("EVENTS", position)
		if err != nil {
			t.Fatal(err)
		}
		for name := range m.Header {
			if strings.HasPrefix(name, "Nats-Batch-") || name == "Nats-Expected-Last-Sequence" {
				m.Header.Del(name)
			}
		}
		text, err := json.Marshal([]any{m.Subject, m.Header, string(m.Data)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return all
}

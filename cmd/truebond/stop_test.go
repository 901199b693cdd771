package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
)

func TestAServerThatIsToldToStopAnswersWhatItHasTaken(t *testing.T) {
	data := t.TempDir()
	l := prepareLoad(t, data)
	for range 3 {
		server := spawn(t, data)
		callers := l.run(server.url, 16)
		time.Sleep(300 * time.Millisecond)
		if !l.awaitMore(10) { // on a busy machine, too, there is something to lose
			t.Fatalf("nothing is acknowledged any more; the server says\n%s", server.hasSaid())
		}
		if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		callers.Wait()
		if <-server.ended; server.err != nil {
			t.Errorf("the server ended with %v", server.err)
		}
		if _, err := os.Stat(datafolder.Folder{Path: data}.Join("server.json")); !os.IsNotExist(err) {
			t.Errorf("the note of where the server is was left behind: %v", err)
		}
		if _, err := os.Stat(datafolder.Folder{Path: data}.Join("operator.sock")); !os.IsNotExist(err) {
			t.Errorf("the operator's socket was left behind: %v", err)
		}
	}
	if len(l.acked) < 30 {
		t.Fatalf("only %d commands were acknowledged; that shows nothing", len(l.acked))
	}
	t.Run("check", func(t *testing.T) { checkPromises(t, data, l) })
	if took := l.taken(t, data); took > len(l.acked) {
		t.Errorf("%d commands are in the log, and only %d were acknowledged", took, len(l.acked))
	}
}

// taken is how many of the load's commands are in the log.
func (l *load) taken(t *testing.T, data string) (n int) {
	t.Helper()
	t.Run("count", func(t *testing.T) {
		history, err := readHistory(t.Context(), openParts(t, server.Options{Data: data, Listen: "127.0.0.1:0"}).Log)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range history {
			if strings.Contains(e.Key, "/load-") || strings.HasPrefix(e.Key, "stripe/evt_load-") {
				n++
			}
		}
	})
	return n
}

func TestASecondServerOnTheSameFolderIsRefusedAndHarmsNothing(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	ann := w.signsUp()
	second, err := server.Start(t.Context(), server.Options{Data: data, Listen: "127.0.0.1:0"})
	if err == nil {
		t.Errorf("a second server has started: %v", second.Stop(t.Context()))
	}
	ann.has(10)
	w.operate("/api/operator/api-keys", map[string]any{"name": "still there",
		"scopes": []string{"operator"}}).is(201)
}

func TestAServerThatIsToldToStopArchivesTheRest(t *testing.T) {
	data, store := t.TempDir(), t.TempDir()
	t.Run("serve", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", Archive: store, ArchiveEvery: time.Hour})
		for range 20 {
			w.signsUp()
		}
	})
	said := truebond(t, "", "verify", "--archive", store)
	said.ends(t, exitDone, "The archive is sound")
	if log, kept := len(bodies(t, embeddedIn(data))), numberIn(t, `sound: (\d+) events`, said.out); kept != log {
		t.Errorf("of %d events %d are archived", log, kept)
	}
}

func TestAnArchiveThatCannotBeReachedKeepsNoServerFromStopping(t *testing.T) {
	data, store := t.TempDir(), t.TempDir()
	server := spawn(t, data, "--archive", store)
	visit(t, data).archives()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	visit(t, data).signsUp()
	server.signal(syscall.SIGTERM)
	if <-server.ended; server.err != nil {
		t.Errorf("the server ended with %v", server.err)
	}
	if said := server.hasSaid(); !strings.Contains(said, "the archive is behind the log") {
		t.Errorf("it says\n%s", said)
	}
}

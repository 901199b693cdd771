package main

import (
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestWhatWasSignedBeforeAKillStandsAfterIt(t *testing.T) {
	const kills = 5
	data := t.TempDir()
	l := prepareLoad(t, data)
	kept := []string{"verify", "--data", data}
	for round := range kills {
		server := spawn(t, data)
		callers := l.run(server.url, 16)
		time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond)
		if !l.awaitMore(10) { // on a busy machine, too, there is something to lose
			t.Fatalf("nothing is acknowledged any more; the server says\n%s", server.hasSaid())
		}
		checkpoint := filepath.Join(t.TempDir(), strconv.Itoa(round))
		write(t, checkpoint, (&world{t: t, url: server.url}).checkpoint().body)
		kept = append(kept, "--checkpoint", checkpoint)
		server.kill()
		callers.Wait()
	}
	if len(l.acked) < 10*kills {
		t.Fatalf("only %d commands were acknowledged; that shows nothing", len(l.acked))
	}
	if code, said := runs(t, kept...); code != exitDone {
		t.Errorf("the log is not what was signed before the kills:\n%s", said)
	}
	checkPromises(t, data, l)
}

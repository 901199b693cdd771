package jetstream

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"truebond/cmd/truebond/disktest"
)

// A server that was killed may have written events that it had not synced. The next one reads them, and
// answers for them, so that a power cut must not take them any more.
func TestWhatAKilledServerHasNotSyncedIsSyncedByTheNext(t *testing.T) {
	d := disktest.New(t, 256<<20)
	o := patient(t)
	o.Dir = filepath.Join(d.Dir, "data")
	w := newWriting(t, "a")
	all := w.next(t, 0, 10)
	l := open(t, o)
	appended(t, l, 0, all[:5])
	closed(t, l)
	name := blocksIn(o.Dir).name(1)
	synced := readFile(t, name)
	l = open(t, o)
	appended(t, l, 5, all[5:])
	closed(t, l)
	whole := readFile(t, name)

	if err := os.Remove(filepath.Join(filepath.Dir(name), "index.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, int64(len(synced))); err != nil {
		t.Fatal(err)
	}
	syscall.Sync()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(whole[len(synced):]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	l = open(t, o)
	if _, err := l.Settled(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	d.CutPower(t)
	_ = l.Close() // its disk has no power
	d.Restart(t)
	holds(t, open(t, o), all)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

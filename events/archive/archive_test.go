package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/events/merkle"
)

// Each object of an archive is damaged, cut, lost and swapped for each other one: all of
// that is noticed.
func TestWhateverHappensToAnObjectIsNoticed(t *testing.T) {
	log, other := newLog(t, "one", 50), newLog(t, "other", 50)
	names := listed(t, kept(t, log, 7))
	if len(names) != 9 {
		t.Fatalf("the archive has %d objects", len(names))
	}
	others := kept(t, other, 7)
	harms := map[string]func(at, next string) error{
		"one bit is flipped": func(at, _ string) error {
			content, err := os.ReadFile(at)
			content[len(content)/2] ^= 4
			return errors.Join(err, os.WriteFile(at, content, 0o600))
		},
		"it is cut":     func(at, _ string) error { return os.Truncate(at, 20) },
		"it is empty":   func(at, _ string) error { return os.Truncate(at, 0) },
		"it is dropped": func(at, _ string) error { return os.Remove(at) },
		"it holds what another one holds": func(at, next string) error {
			content, err := os.ReadFile(next)
			return errors.Join(err, os.WriteFile(at, content, 0o600))
		},
		"it has another one's name": func(at, next string) error { return os.Rename(at, next) },
		"two are swapped": func(at, next string) error {
			return errors.Join(os.Rename(at, at+"x"), os.Rename(next, at), os.Rename(at+"x", next))
		},
	}
	for what, harm := range harms {
		for i := range names {
			store := kept(t, log, 7)
			if got := listed(t, store); !slices.Equal(got, names) {
				t.Fatalf("the same log was archived as %v", got)
			}
			at := filepath.Join(store.String(), names[i])
			if err := harm(at, filepath.Join(store.String(), names[(i+1)%len(names)])); err != nil {
				t.Fatal(err)
			}
			bodies, err := read(t.Context(), store)
			if strings.HasSuffix(at, checkpointEnding) && what == "it is dropped" {
				continue // the events are all there; whoever has a checkpoint of their own can tell
			}
			if err == nil {
				t.Errorf("%s: %s, and %d events are read", names[i], what, len(bodies))
			}
		}
	}
	for i, name := range names {
		store := kept(t, log, 7)
		theirs := listed(t, others)[i]
		content, err := others.Get(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(store.Delete(t.Context(), name), store.PutIfAbsent(t.Context(), theirs, content)); err != nil {
			t.Fatal(err)
		}
		if noticed(t, store) == nil {
			t.Errorf("%s is of another log, and nothing is noticed", theirs)
		}
		if _, err := read(t.Context(), store); err == nil && !strings.HasSuffix(name, checkpointEnding) {
			t.Errorf("%s is of another log, and nothing is noticed without a checkpoint", theirs)
		}
	}
}

// noticed reads an archive against its own checkpoint.
func noticed(t *testing.T, store Store) error {
	t.Helper()
	a, err := Open(t.Context(), store)
	if err != nil {
		return err
	}
	signed, err := a.Checkpoint(t.Context())
	if err != nil {
		return err
	}
	c, err := merkle.ParseCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	r := &Restorer{Archive: a, Codec: newCodec(t), Checkpoints: []merkle.Checkpoint{c}}
	_, err = r.Restore(t.Context(), &memoryLog{}, Until{}, Damage{})
	return err
}

func listed(t testing.TB, store Store) []string {
	t.Helper()
	names, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestWhatElseStandsThereIsPassedOver(t *testing.T) {
	log := newLog(t, "one", 20)
	store := kept(t, log, 7)
	for _, name := range []string{"log/readme.txt", "log/1-2-x.zst", "media/1", "log/0.checkpoint"} {
		if err := store.PutIfAbsent(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if bodies, err := read(t.Context(), store); err != nil || len(bodies) != 20 {
		t.Errorf("%d events are read: %v", len(bodies), err)
	}
}

// Whenever the one who archives is killed, what is there is the beginning of the log, and
// the next one goes on from there.
func TestAnArchiverCanBeKilledAtEveryStep(t *testing.T) {
	log := newLog(t, "one", 25)
	rapid.Check(t, func(rt *rapid.T) {
		store := newStore(t)
		eventsMax := rapid.IntRange(1, 12).Draw(rt, "a segment's events")
		size := 0
		for size < len(log.records) {
			size += rapid.IntRange(0, 9).Draw(rt, "more")
			size = min(size, len(log.records))
			faulty := &faultyStore{Store: store, left: rapid.IntRange(0, 25).Draw(rt, "operations"),
				there: rapid.Bool().Draw(rt, "the last one works")}
			k, err := Resume(t.Context(), faulty, log.until(size), slog.New(slog.DiscardHandler))
			if err == nil {
				k.eventsMax = eventsMax
				if rapid.Bool().Draw(rt, "signed") && size > 0 {
					_, signed := log.checkpoint(size)
					err = k.KeepSigned(t.Context(), signed)
				} else {
					err = k.Keep(t.Context(), uint64(size))
				}
			}
			if err != nil && !errors.Is(err, errFaulty) {
				rt.Fatal(err)
			}
			bodies, failed := read(t.Context(), store)
			if failed != nil || !isPrefix(bodies, log) {
				rt.Fatalf("%d of %d events are read: %v", len(bodies), size, failed)
			}
			if k != nil && uint64(len(bodies)) < k.Position() || err == nil && len(bodies) != size {
				rt.Fatalf("%d of %d events are read, and %d were kept (%v)", len(bodies), size, k.Position(), err)
			}
		}
		_, signed := log.checkpoint(size)
		if err := resume(t, store, log, eventsMax).KeepSigned(t.Context(), signed); err != nil {
			rt.Fatal(err)
		}
		if bodies, err := read(t.Context(), store); err != nil || len(bodies) != size {
			rt.Fatalf("%d of %d events are read: %v", len(bodies), size, err)
		}
		a, err := Open(t.Context(), store)
		if err != nil || len(a.segments) > (size+eventsMax-1)/eventsMax {
			rt.Fatalf("there are %d segments of %d events for %d: %v", len(a.segments), eventsMax, size, err)
		}
	})
}

// Who restores asks before it takes what no checkpoint covers. A kill leaves no such thing, as long as the
// archive is not more than a segment behind.
func TestAKillLeavesNothingThatIsNotSigned(t *testing.T) {
	log := newLog(t, "one", 30)
	for left := range 12 {
		for _, there := range []bool{false, true} {
			store := newStore(t)
			_, before := log.checkpoint(20)
			if err := resume(t, store, log.until(20), 100).KeepSigned(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			k := resume(t, store, log, 100)
			k.archive.store = &faultyStore{Store: store, left: left, there: there}
			c, signed := log.checkpoint(30)
			_ = k.KeepSigned(t.Context(), signed)
			a, err := Open(t.Context(), store)
			if err != nil || a.signed != a.Last() || a.Last() != 20 && a.Last() != 30 {
				t.Fatalf("killed at %d it ends at %d, of which %d are signed: %v", left, a.Last(), a.signed, err)
			}
			if _, err := a.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
			if err := resume(t, store, log, 100).KeepSigned(t.Context(), signed); err != nil {
				t.Error(err)
			}
			if a, err := Open(t.Context(), store); err != nil || a.signed != c.Size {
				t.Errorf("then %d are signed: %v", a.signed, err)
			}
		}
	}
}

func TestOneKeeperGoesOnAfterTheStoreHasFailed(t *testing.T) {
	log := newLog(t, "one", 40)
	for left := range 10 { // five segments are put and read back
		store := newStore(t)
		faulty := &faultyStore{Store: store, left: left}
		k := resume(t, faulty, log, 7)
		if err := k.Keep(t.Context(), 33); err == nil {
			t.Fatalf("after %d operations nothing fails", left)
		}
		faulty.left = 1000
		if err := k.Keep(t.Context(), 40); err != nil || k.Position() != 40 {
			t.Errorf("then it is at %d: %v", k.Position(), err)
		}
		if bodies, err := read(t.Context(), store); err != nil || len(bodies) != 40 || !isPrefix(bodies, log) {
			t.Errorf("%d events are read: %v", len(bodies), err)
		}
	}
}

func TestWhereNothingCanBeDeletedTheArchiveIsReadAllTheSame(t *testing.T) {
	log, store := newLog(t, "one", 40), newStore(t)
	k := resume(t, immutableStore{store}, log, 7)
	for size := range len(log.records) {
		if err := k.Keep(t.Context(), uint64(size+1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(listed(t, store)); n != 40 {
		t.Errorf("%d objects are there", n)
	}
	if bodies, err := read(t.Context(), store); err != nil || len(bodies) != 40 || !isPrefix(bodies, log) {
		t.Errorf("%d events are read: %v", len(bodies), err)
	}
}

// A rottenStore keeps something else than it was given, for a while.
type rottenStore struct {
	Store
	rotten bool
}

func (s *rottenStore) PutIfAbsent(ctx context.Context, name string, content []byte) error {
	if s.rotten {
		content = content[:len(content)-1]
	}
	return s.Store.PutIfAbsent(ctx, name, content)
}

func TestWhatIsNotReadBackAsWrittenIsNotArchived(t *testing.T) {
	log := newLog(t, "one", 20)
	store := &rottenStore{newStore(t), true}
	k := resume(t, store, log, 100)
	if err := k.Keep(t.Context(), 20); !errors.Is(err, ErrDamaged) || k.Position() != 0 {
		t.Errorf("it is at %d: %v", k.Position(), err)
	}
	store.rotten = false
	if err := k.Keep(t.Context(), 20); err != nil || k.Position() != 20 {
		t.Errorf("then it is at %d: %v", k.Position(), err)
	}
}

func TestAnArchiveOfAnotherLogIsRefused(t *testing.T) {
	log := newLog(t, "one", 40)
	store := kept(t, log, 7)
	for what, c := range map[string]struct {
		log  *memoryLog
		want error
	}{
		"another log":                       {newLog(t, "other", 60), ErrOther},
		"a log that was cut":                {log.until(39), ErrAhead},
		"a log that is empty":               {&memoryLog{}, ErrAhead},
		"a log with another first event":    {log.with(1, newLog(t, "other", 1).records[0].Body), ErrOther},
		"a log with another last event":     {log.with(40, log.records[0].Body), ErrOther},
		"a log that was cut and grew again": {forked(t, log, 38, 60), ErrOther},
	} {
		if _, err := Resume(t.Context(), store, c.log, slog.New(slog.DiscardHandler)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	before := listed(t, store)
	k := resume(t, store, log, 7)
	if err := k.Keep(t.Context(), 40); err != nil || !slices.Equal(before, listed(t, store)) {
		t.Errorf("with its own log the archive becomes %v: %v", listed(t, store), err)
	}
}

func forked(t *testing.T, log *memoryLog, at, size int) *memoryLog {
	t.Helper()
	l := log.until(at)
	l.records = append(l.records, newLog(t, "fork", size).records[at:]...)
	return l
}

func TestACheckpointOfOtherEventsIsNotArchived(t *testing.T) {
	log := newLog(t, "one", 40)
	store := newStore(t)
	k := resume(t, store, log, 7)
	_, signed := newLog(t, "other", 30).checkpoint(30)
	if err := k.KeepSigned(t.Context(), signed); !errors.Is(err, ErrOther) || k.Position() != 28 {
		t.Errorf("it is at %d, and says %v", k.Position(), err)
	}
	if n := len(listed(t, store)); n != 4 {
		t.Errorf("%d objects are there, and not the four full segments alone", n)
	}
	_, signed = log.checkpoint(35)
	if err := k.KeepSigned(t.Context(), signed); err != nil || k.Position() != 35 {
		t.Errorf("its own is at %d: %v", k.Position(), err)
	}
	_, signed = log.checkpoint(20) // older than what is archived
	if err := k.KeepSigned(t.Context(), signed); err != nil || k.Position() != 35 {
		t.Errorf("an older one is at %d: %v", k.Position(), err)
	}
}

func TestAnArchiveEndsNowhereBeforeItsCheckpoint(t *testing.T) {
	store := kept(t, newLog(t, "one", 40), 7)
	for _, name := range listed(t, store) {
		if strings.Contains(name, fmt.Sprintf("-%020d-", 40)) {
			if err := store.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Open(t.Context(), store); !errors.Is(err, events.ErrGap) {
		t.Errorf("without its last segment it says %v", err)
	}
}

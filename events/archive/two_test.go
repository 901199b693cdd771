package archive

import (
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
)

// Servers of one log lead by turns, and each goes on with what it knew of the archive when it led last.
func TestKeepersByTurnsHarmNothing(t *testing.T) {
	const events = 120
	log := newLog(t, "one", events)
	for seed := range uint64(5) {
		dice := rand.New(rand.NewPCG(seed, 1))
		store := newStore(t)
		var keepers [3]*Keeper
		var faulty [3]*faultyStore
		now, kept := 0, uint64(0) // how long the log is, and what was said to be archived
		for range 40 {
			now = min(events, now+dice.IntN(9))
			i := dice.IntN(len(keepers))
			if keepers[i] == nil || dice.IntN(8) == 0 {
				faulty[i] = &faultyStore{Store: store, left: 1 << 30}
				k, err := Resume(t.Context(), faulty[i], log.until(now), slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatalf("%d: %v", seed, err)
				}
				keepers[i] = k
				k.eventsMax = 7
			}
			keepers[i].log = log.until(now)
			faulty[i].left = 1 << 30
			if dice.IntN(4) == 0 {
				faulty[i].left, faulty[i].there = dice.IntN(6), dice.IntN(2) == 0
			}
			size := now - min(now, dice.IntN(4)) // each has a tree of its own
			_, signed := log.checkpoint(size)
			err := keepers[i].KeepSigned(t.Context(), signed)
			if errors.Is(err, ErrGone) {
				keepers[i] = nil
				continue
			}
			if err != nil && !errors.Is(err, errFaulty) && !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%d: %v", seed, err)
			}
			for _, k := range keepers {
				if k != nil {
					kept = max(kept, k.Position())
				}
			}
			bodies, err := read(t.Context(), store)
			if err != nil || !isPrefix(bodies, log) || uint64(len(bodies)) < kept {
				t.Fatalf("%d: the archive has %d events, and %d were kept: %v", seed, len(bodies), kept, err)
			}
		}
	}
}

// Whoever serves a copy of a data folder beside the original's archive makes an archive of two logs. Neither
// takes from it what the other has put there.
func TestACopyOfTheLogTakesNothingFromItsArchive(t *testing.T) {
	log := newLog(t, "one", 40)
	copied := forked(t, log, 12, 40)
	store := kept(t, log.until(12), 12)
	original, copys := resume(t, store, log, 12), resume(t, store, copied, 12)
	_, signed := log.checkpoint(25)
	if err := original.KeepSigned(t.Context(), signed); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{25, 30} { // as long as the original's, and longer
		_, signed = copied.checkpoint(size)
		if err := copys.KeepSigned(t.Context(), signed); err != nil {
			t.Fatal(err)
		}
		before := listed(t, store)
		for what, log := range map[string]*memoryLog{"the original": log, "the copy": copied} {
			if _, err := Resume(t.Context(), store, log, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrOther) {
				t.Errorf("%s goes on: %v", what, err)
			}
		}
		if after := listed(t, store); !slices.Equal(before, after) {
			t.Errorf("there was %v, and is %v", before, after)
		}
	}
}

func TestNothingIsArchivedBehindWhatIsGone(t *testing.T) {
	log := newLog(t, "one", 40)
	for _, size := range []int{10, 14} { // the last segment is open, or full
		store := newStore(t)
		k := resume(t, store, log, 7)
		if err := k.Keep(t.Context(), uint64(size)); err != nil {
			t.Fatal(err)
		}
		before := map[string][]byte{}
		for _, name := range listed(t, store) {
			content, err := store.Get(t.Context(), name)
			if err := errors.Join(err, store.Delete(t.Context(), name)); err != nil {
				t.Fatal(err)
			}
			before[name] = content
		}
		_, signed := log.checkpoint(size)
		if err := k.KeepSigned(t.Context(), signed); !errors.Is(err, ErrGone) {
			t.Errorf("without more events it says %v", err)
		}
		if err := k.Keep(t.Context(), 40); !errors.Is(err, ErrGone) || len(listed(t, store)) > 0 {
			t.Errorf("it puts %v: %v", listed(t, store), err)
		}
		for name, content := range before {
			if err := store.PutIfAbsent(t.Context(), name, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Keep(t.Context(), 40); err != nil {
			t.Errorf("when all is there again it says %v", err)
		}
		if bodies, err := read(t.Context(), store); err != nil || len(bodies) != 40 || !isPrefix(bodies, log) {
			t.Errorf("%d events are read: %v", len(bodies), err)
		}
	}
}

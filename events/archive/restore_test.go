package archive

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/events"
	"truebond/events/merkle"
)

func restorer(t *testing.T, store Store, checkpoints ...merkle.Checkpoint) *Restorer {
	t.Helper()
	a, err := Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return &Restorer{Archive: a, Codec: newCodec(t), Checkpoints: checkpoints}
}

func TestALogIsRestoredUntilSomewhere(t *testing.T) {
	log := newLog(t, "one", 45)
	store := kept(t, log, 7)
	c, _ := log.checkpoint(45)
	for _, until := range []struct {
		Until
		last   uint64
		erased []string
	}{
		{Until{}, 45, nil},
		{Until{Position: 45}, 45, nil},
		{Until{Position: 100}, 45, nil},
		{Until{Position: 1}, 1, []string{"usr_10", "usr_20", "usr_30", "usr_40"}},
		{Until{Position: 30}, 30, []string{"usr_40"}},
		{Until{Time: begin.Add(21 * time.Second)}, 21, []string{"usr_30", "usr_40"}},
		{Until{Time: begin.Add(21999 * time.Millisecond)}, 21, []string{"usr_30", "usr_40"}},
		{Until{Time: begin}, 0, []string{"usr_10", "usr_20", "usr_30", "usr_40"}},
		{Until{Time: begin.Add(time.Hour)}, 45, nil},
	} {
		var made memoryLog
		r := restorer(t, store, c)
		done, err := r.Restore(t.Context(), &made, until.Until, Damage{})
		if err != nil || done.Last != until.last || !slices.Equal(done.Erased, until.erased) {
			t.Errorf("until %v it has %d, %v: %v", until.Until, done.Last, done.Erased, err)
		}
		bodies, _ := made.ReadBodies(t.Context(), 0, len(made.records))
		if uint64(len(made.records)) != until.last || !isPrefix(bodies, log) {
			t.Errorf("until %v the log has %d events, and they are others", until.Until, len(made.records))
		}
		if err := r.Verify(t.Context(), &made, done); err != nil {
			t.Error(err)
		}
		if len(made.records) == 0 {
			continue
		}
		for what, other := range map[string]*memoryLog{
			"changed": made.with(1, []byte("{}")), "lost": made.with(1, nil),
			"shorter": made.until(len(made.records) - 1),
		} {
			if r.Verify(t.Context(), other, done) == nil {
				t.Errorf("an event is %s, and the log verifies", what)
			}
		}
	}
}

func TestALogThatIsNotEmptyIsNotRestoredInto(t *testing.T) {
	log := newLog(t, "one", 10)
	into := log.until(1)
	if _, err := restorer(t, kept(t, log, 7)).Restore(t.Context(), into, Until{}, Damage{}); err == nil {
		t.Error("it is")
	}
	if len(into.records) != 1 {
		t.Errorf("it has %d events now", len(into.records))
	}
}

func TestAnArchiveThatWasMadeUpIsNoLog(t *testing.T) {
	log, other := newLog(t, "one", 40), newLog(t, "other", 40)
	theirs := kept(t, other, 7) // right in itself, with hashes and all
	ours, _ := log.checkpoint(30)
	_, err := restorer(t, theirs, ours).Restore(t.Context(), &memoryLog{}, Until{}, Damage{})
	if !errors.Is(err, merkle.ErrRoot) {
		t.Errorf("it says %v", err)
	}
}

func TestADamagedLogIsInspected(t *testing.T) {
	log, other := newLog(t, "one", 60), newLog(t, "other", 60)
	store := kept(t, log.until(40), 7)
	signed, _ := log.checkpoint(50)
	later, _ := log.checkpoint(60)
	for what, c := range map[string]struct {
		log         *memoryLog
		signed      []merkle.Checkpoint
		bad, first  uint64
		sound, lost uint64
		why         string // why the first one is bad
		cause       string // why others are lost
		different   bool
	}{
		"nothing":                       {log: log.until(40), sound: 40},
		"nothing, and it goes on":       {log: log, sound: 60},
		"nothing, and that is signed":   {log: log, signed: []merkle.Checkpoint{signed, later}, sound: 60},
		"an old event is gone":          {log: log.with(12, nil), bad: 1, first: 12, why: "there is no event 12", sound: 60},
		"an old event is another one":   {log: log.with(7, other.records[6].Body), bad: 1, first: 7, why: "archived", sound: 60},
		"it was cut":                    {log: log.until(33), bad: 7, first: 34, why: "ends", sound: 40},
		"it was cut, and was longer":    {log: log.until(33), signed: []merkle.Checkpoint{signed}, bad: 7, first: 34, sound: 40, lost: 10, cause: "signed for 50"},
		"it is empty":                   {log: &memoryLog{}, bad: 40, first: 1, sound: 40},
		"a new event is gone":           {log: log.with(51, nil), sound: 50, lost: 10, cause: "event 51"},
		"a new event is no event":       {log: log.with(51, []byte("{")), sound: 50, lost: 10, cause: "event 51"},
		"the first new event is gone":   {log: log.with(41, nil), sound: 40, lost: 20, cause: "event 41"},
		"the last archived one is gone": {log: log.with(40, nil), bad: 1, first: 40, sound: 40, lost: 20, cause: "no checkpoint"},
		"the same, but more is signed":  {log: log.with(40, nil), signed: []merkle.Checkpoint{signed}, bad: 1, first: 40, sound: 50, lost: 10, cause: "no checkpoint"},
		"the same, and all is signed":   {log: log.with(40, nil), signed: []merkle.Checkpoint{later}, bad: 1, first: 40, sound: 60},
		"a signed one is another one":   {log: log.with(45, other.records[44].Body), signed: []merkle.Checkpoint{signed}, sound: 40, lost: 20, cause: "41 to 50"},
		"what is signed is gone":        {log: log.until(45), signed: []merkle.Checkpoint{signed}, sound: 45, lost: 5, cause: "signed for 50"},
		"it is another log from 30 on":  {log: forked(t, log, 30, 60), bad: 10, first: 31, sound: 40, lost: 20, cause: "no checkpoint"},
		"it is another log":             {log: other, different: true},
	} {
		t.Run(what, func(t *testing.T) {
			r := restorer(t, store, c.signed...)
			d, err := r.Inspect(t.Context(), c.log)
			if c.different {
				if !errors.Is(err, ErrOther) {
					t.Errorf("it says %v", err)
				}
				return
			}
			if err != nil || d.Bad != c.bad || d.First != c.first || d.Sound != c.sound || d.Lost != c.lost {
				t.Fatalf("it found %+v: %v", d, err)
			}
			if c.why != "" && !strings.Contains(d.Why.Error(), c.why) || c.cause != "" && !strings.Contains(d.Cause.Error(), c.cause) {
				t.Errorf("it found %v and %v", d.Why, d.Cause)
			}
			if d.None() != (c.bad == 0 && c.lost == 0) {
				t.Errorf("whole: %v", d.None())
			}
			var made memoryLog
			done, err := r.Restore(t.Context(), &made, Until{}, d)
			bodies, _ := made.ReadBodies(t.Context(), 0, len(made.records))
			if err != nil || done.Last != c.sound || uint64(len(bodies)) != c.sound || !isPrefix(bodies, log) {
				t.Errorf("restored are %d events: %v", len(bodies), err)
			}
		})
	}
}

// A flippedStore has one bit that has flipped, in the segment that begins with an event.
type flippedStore struct {
	Store
	first uint64
}

func (s flippedStore) Get(ctx context.Context, name string) ([]byte, error) {
	object, err := s.Store.Get(ctx, name)
	if n, ok := parseName(name); ok && n.first == s.first {
		object[len(object)/2] ^= 1
	}
	return object, err
}

// Where one is damaged the other has what belongs there.
func TestADamagedLogAndADamagedArchiveMendEachOther(t *testing.T) {
	log, other := newLog(t, "one", 50), newLog(t, "other", 50)
	store := kept(t, log.until(40), 7)
	end, _ := log.checkpoint(40)
	early, _ := log.checkpoint(30)
	for what, c := range map[string]struct {
		log    *memoryLog
		rotten uint64 // first event of the archive's damaged segment
		signed merkle.Checkpoint
		mended bool
	}{
		"at different places":                       {log.with(12, nil), 15, end, true},
		"the log before and behind the archive":     {log.with(12, nil).with(30, nil), 15, end, true},
		"the archive at its beginning":              {log.with(12, nil), 1, end, true},
		"the archive at its end":                    {log.with(12, nil), 36, end, true},
		"the archive at its end, which none proves": {log.with(12, nil), 36, early, false},
		"at one place":                              {log.with(16, nil), 15, end, false},
		"the log by another event at that place":    {log.with(12, nil).with(16, other.records[15].Body), 15, end, false},
		"the same at the end":                       {log.with(12, nil).with(38, other.records[37].Body), 36, end, false},
		"the archive alone":                         {log, 15, end, false},
	} {
		t.Run(what, func(t *testing.T) {
			r := restorer(t, flippedStore{store, c.rotten}, c.signed)
			found, err := r.Inspect(t.Context(), c.log)
			if err == nil && !strings.Contains(found.Why.Error(), "so is the archive") {
				t.Errorf("of the archive nothing is told: %v", found.Why)
			}
			var made memoryLog
			if err == nil {
				_, err = r.Restore(t.Context(), &made, Until{}, found)
			}
			if !c.mended {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, merkle.ErrRoot) {
					t.Errorf("it says %v", err)
				}
				return
			}
			bodies, _ := made.ReadBodies(t.Context(), 0, len(made.records))
			if err != nil || len(bodies) != 50 || !isPrefix(bodies, log) {
				t.Errorf("restored are %d events: %v", len(bodies), err)
			}
		})
	}
}

func TestAnArchiveThatEndsBeforeACheckpointIsNotRestored(t *testing.T) {
	log := newLog(t, "one", 40)
	c, _ := log.checkpoint(40)
	_, err := restorer(t, kept(t, log.until(30), 7), c).Restore(t.Context(), &memoryLog{}, Until{}, Damage{})
	if !errors.Is(err, merkle.ErrShort) {
		t.Errorf("it says %v", err)
	}
}

func TestAnEventThatCannotBeReadByThisProgramIsNotRestored(t *testing.T) {
	log := newLog(t, "one", 10)
	log.records[4].Body = []byte(`{"type":"from.the_future"}`)
	_, err := restorer(t, kept(t, log, 7)).Restore(t.Context(), &memoryLog{}, Until{}, Damage{})
	if !errors.Is(err, events.ErrUnreadable) || !strings.Contains(err.Error(), "event 5") {
		t.Errorf("it says %v", err)
	}
}

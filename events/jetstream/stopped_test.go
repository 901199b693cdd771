package jetstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"truebond/events"
)

func TestAStoppedLogIsReadAsItWasAppended(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	l, w := open(t, o), newWriting(t, "a")
	var all []events.Record
	for _, n := range []int{1, 7000, 1, 7000} { // more than a block has
		for n > 0 {
			next := w.next(t, uint64(len(all)), min(n, 1000))
			appended(t, l, uint64(len(all)), next)
			all, n = append(all, next...), n-len(next)
		}
	}
	closed(t, l)
	before := hashesOf(t, o.Dir)

	s, bodies := stopped(t, o, 0)
	if len(s.numbers) != 2 || s.Left() != nil {
		t.Errorf("it has the blocks %v, and %v is left", s.numbers, s.Left())
	}
	if len(bodies) != len(all) {
		t.Fatalf("it has %d events, want %d", len(bodies), len(all))
	}
	for i, body := range bodies {
		if !bytes.Equal(body, all[i].Body) {
			t.Fatalf("event %d is %s, want %s", i+1, body, all[i].Body)
		}
	}
	for _, position := range []uint64{1, s.firsts[1] - 1, s.firsts[1], uint64(len(all))} {
		if body, err := s.Body(t.Context(), position); err != nil || !bytes.Equal(body, all[position-1].Body) {
			t.Errorf("event %d is %s: %v", position, body, err)
		}
	}
	for _, position := range []uint64{0, uint64(len(all)) + 1} {
		_, err := s.Body(t.Context(), position)
		failsWith(t, err, ErrNotFound)
	}
	if after := hashesOf(t, o.Dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("its files have changed from %v to %v", before, after)
	}
}

func TestAFolderWithoutALogHasNoEvents(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	if s, bodies := stopped(t, o, 0); len(bodies) != 0 || s.Left() != nil {
		t.Errorf("it has %d events, and %v is left", len(bodies), s.Left())
	}
}

func TestAStoppedLogIsReadUpToWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		damaged uint64 // event; 0: none
		cut     int    // bytes of the block
		killed  bool   // there is no index that tells where the log ended
		durable uint64
		sound   int   // events
		err     error // nil: what is left is a crash's
		says    string
	}{
		"an event in the middle":           {damaged: 30, killed: true, sound: 29, err: ErrRotten, says: "event 30"},
		"the last one, stopped well":       {damaged: 61, sound: 60, err: ErrRotten, says: "event 61"},
		"the last one, which was signed":   {damaged: 61, killed: true, durable: 61, sound: 60, err: ErrRotten, says: "event 61"},
		"the last one, after a kill":       {damaged: 61, killed: true, durable: 60, sound: 60},
		"half of the last one":             {cut: 100, killed: true, durable: 60, sound: 60},
		"half of the last, that was there": {cut: 100, killed: true, durable: 61, sound: 60, err: ErrRotten, says: "event 61"},
	} {
		t.Run(name, func(t *testing.T) {
			o, all := written(t, 30, 30, 1)
			if c.damaged > 0 {
				damage(t, o.Dir, all[c.damaged-1].Body, !c.killed)
			}
			block := blocksIn(o.Dir).name(1)
			info, err := os.Stat(block)
			if err == nil {
				err = os.Truncate(block, info.Size()-int64(c.cut))
			}
			if err == nil && c.killed {
				err = os.RemoveAll(filepath.Join(filepath.Dir(block), "index.db"))
			}
			if err != nil {
				t.Fatal(err)
			}
			before := hashesOf(t, o.Dir)

			s, err := OpenStopped(o.Dir, c.durable)
			if err != nil {
				t.Fatal(err)
			}
			var bodies [][]byte
			err = s.Bodies(t.Context(), func(some [][]byte) error {
				bodies = append(bodies, some...)
				return nil
			})
			if c.err != nil {
				failsWith(t, err, c.err)
				mentions(t, err, c.says, block)
			} else if err != nil || s.Left() == nil || s.Left().Position != 61 {
				t.Errorf("%v is left: %v", s.Left(), err)
			}
			if len(bodies) != c.sound {
				t.Errorf("%d events are sound, want %d", len(bodies), c.sound)
			}
			if after := hashesOf(t, o.Dir); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("its files have changed from %v to %v", before, after)
			}
		})
	}
}

// The server notes at each stop, and now and then, how far the log was.
func TestAStoppedLogThatLacksEventsIsNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, b blocks)
		says string // the event that is missing
	}{
		"its last block is gone":   {func(t *testing.T, b blocks) { removed(t, b.name(2)) }, "the last one was event 14000"},
		"its first block is gone":  {func(t *testing.T, b blocks) { removed(t, b.name(1)) }, ": 1"},
		"all its blocks are gone":  {func(t *testing.T, b blocks) { removed(t, b.name(1)); removed(t, b.name(2)) }, ": 1"},
		"it ends earlier":          {func(t *testing.T, b blocks) { cutBehind(t, b.name(2), 20) }, "the last one was event 14000"},
		"its last one was deleted": {func(t *testing.T, b blocks) { deleted(t, b, 2, 14_000) }, ": 14000"},
		"one of it was deleted":    {func(t *testing.T, b blocks) { deleted(t, b, 2, 200) }, ": 200"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := written(t, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
			c.harm(t, blocksIn(o.Dir))
			s, err := OpenStopped(o.Dir, 0)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Bodies(t.Context(), func([][]byte) error { return nil })
			failsWith(t, err, events.ErrGap)
			mentions(t, err, c.says)
		})
	}
}

func removed(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// cutBehind leaves some records of a block.
func cutBehind(t *testing.T, name string, records int) {
	t.Helper()
	block, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for range records {
		length, _ := soundRecord(block[at:], hasherOf(2))
		at += length
	}
	if err := os.Truncate(name, int64(at)); err != nil || at == 0 {
		t.Fatalf("it has %d bytes: %v", at, err)
	}
}

// deleted writes behind a block what the server does when an event is deleted.
func deleted(t *testing.T, b blocks, number int, position uint64) {
	t.Helper()
	mark := make([]byte, recordHead+recordHash)
	binary.LittleEndian.PutUint32(mark, uint32(len(mark)))
	binary.LittleEndian.PutUint64(mark[4:], position|1<<62)
	h := hasherOf(number)
	_, _ = h.Write(mark[4:20])
	copy(mark[recordHead:], h.Sum(nil))
	file, err := os.OpenFile(b.name(number), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.Write(mark)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// So it is in a copy of a damaged log that `truebond restore` has opened.
func TestAStoppedLogLacksWhatWasMarkedAsRemoved(t *testing.T) {
	o, all := written(t, 60)
	zero(t, o.Dir, all[20].Body, all[27].Body)
	if err := blocksIn(o.Dir).markRemoved(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStopped(o.Dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Bodies(t.Context(), func([][]byte) error { return nil })
	failsWith(t, err, events.ErrGap)
	mentions(t, err, ": 21")
}

func stopped(t *testing.T, o Options, durable uint64) (s *Stopped, bodies [][]byte) {
	t.Helper()
	s, err := OpenStopped(o.Dir, durable)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Bodies(t.Context(), func(some [][]byte) error {
		bodies = append(bodies, some...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, bodies
}

// hashesOf are the files in a folder.
func hashesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	hashes := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		hashes[path] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

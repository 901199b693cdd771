package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"truebond/commands/blob"
	"truebond/events"
	"truebond/events/merkle"
)

// A memoryLog is a log as a slice. Its methods are those of a real one; the real one is
// tested with the program.
type memoryLog struct{ records []events.Record }

func (l *memoryLog) Last(context.Context) (uint64, error) { return uint64(len(l.records)), nil }

func (l *memoryLog) ReadRange(_ context.Context, after uint64, max int) ([]events.Record, error) {
	if after > uint64(len(l.records)) {
		return nil, errors.New("the log ends too early")
	}
	return l.records[after:min(after+uint64(max), uint64(len(l.records)))], nil
}

func (l *memoryLog) Body(_ context.Context, position uint64) ([]byte, error) {
	if position < 1 || position > uint64(len(l.records)) || l.records[position-1].Body == nil {
		return nil, fmt.Errorf("there is no event %d", position)
	}
	return l.records[position-1].Body, nil
}

func (l *memoryLog) ReadBodies(ctx context.Context, after uint64, count int) ([][]byte, error) {
	var bodies [][]byte
	for i := range count {
		body, err := l.Body(ctx, after+1+uint64(i))
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func (l *memoryLog) Append(_ context.Context, after uint64, records []events.Record) error {
	if after != uint64(len(l.records)) {
		return events.ErrBeaten
	}
	l.records = append(l.records, records...)
	return nil
}

// until is the log as it was at a position.
func (l *memoryLog) until(position int) *memoryLog {
	return &memoryLog{append([]events.Record(nil), l.records[:position]...)}
}

// with is the log with one event damaged: lost when body is nil, else another one.
func (l *memoryLog) with(position int, body []byte) *memoryLog {
	damaged := l.until(len(l.records))
	damaged.records[position-1].Body = body
	return damaged
}

func (l *memoryLog) checkpoint(size int) (merkle.Checkpoint, []byte) {
	var tree merkle.Tree
	for _, r := range l.records[:size] {
		tree.Add(merkle.LeafHash(r.Body), nil)
	}
	signer, err := merkle.NewSigner(make([]byte, merkle.SeedBytes))
	if err != nil {
		panic(err)
	}
	signed := signer.Sign(uint64(size), tree.Root())
	c, err := merkle.OpenCheckpoint(signed, signer.VerifierKey())
	if err != nil {
		panic(err)
	}
	return c, signed
}

// newLog is a log of events a second apart. Every tenth erases a user.
func newLog(t testing.TB, name string, count int) *memoryLog {
	t.Helper()
	l := &memoryLog{}
	for i := 1; i <= count; i++ {
		at := begin.Add(time.Duration(i) * time.Second)
		e := events.Event{
			Position: uint64(i), Key: fmt.Sprintf("%s/%d", name, i), Time: at, Effective: at, Actor: events.System,
			Data: events.MessageDeleted{Message: fmt.Sprintf("msg_%d", i), Conversation: "con_1", By: "usr_1", To: "usr_2"},
		}
		if i%10 == 0 {
			e.Data = events.UserErased{User: fmt.Sprintf("usr_%d", i), Reason: "asked"}
		}
		body, err := newCodec(t).Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		l.records = append(l.records, events.Record{Event: e, Body: body})
	}
	return l
}

var begin = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

func newCodec(t testing.TB) *events.Codec {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func newStore(t testing.TB) *blob.Folder {
	t.Helper()
	store, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// resume goes on with segments of so many events.
func resume(t testing.TB, store Store, log Log, eventsMax int) *Keeper {
	t.Helper()
	k, err := Resume(t.Context(), store, log, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k.eventsMax = eventsMax
	return k
}

// kept is a store with an archive of a whole log, in segments of so many events, and its
// checkpoint.
func kept(t testing.TB, log *memoryLog, eventsMax int) *blob.Folder {
	t.Helper()
	store := newStore(t)
	_, signed := log.checkpoint(len(log.records))
	if err := resume(t, store, log, eventsMax).KeepSigned(t.Context(), signed); err != nil {
		t.Fatal(err)
	}
	return store
}

// read reads an archive to its end.
func read(ctx context.Context, store Store) (bodies [][]byte, err error) {
	a, err := Open(ctx, store)
	if err != nil {
		return nil, err
	}
	if _, err := a.Checkpoint(ctx); err != nil {
		return nil, err
	}
	err = a.Walk(ctx, func(s Segment) error {
		bodies = append(bodies, s.Bodies...)
		return nil
	})
	return bodies, err
}

func isPrefix(bodies [][]byte, of *memoryLog) bool {
	if len(bodies) > len(of.records) {
		return false
	}
	for i, body := range bodies {
		if string(body) != string(of.records[i].Body) {
			return false
		}
	}
	return true
}

// A faultyStore fails from some operation on, as a process that was killed there, or a
// store that cannot be reached. What was to be put then may be there all the same.
type faultyStore struct {
	Store
	left  int  // operations until then
	there bool // the put that fails has worked
}

var errFaulty = errors.New("killed")

func (s *faultyStore) PutIfAbsent(ctx context.Context, name string, content []byte) error {
	if s.left--; s.left >= 0 {
		return s.Store.PutIfAbsent(ctx, name, content)
	}
	if s.left == -1 && s.there {
		return errors.Join(errFaulty, s.Store.PutIfAbsent(ctx, name, content))
	}
	return errFaulty
}

func (s *faultyStore) Get(ctx context.Context, name string) ([]byte, error) {
	if s.left--; s.left >= 0 {
		return s.Store.Get(ctx, name)
	}
	return nil, errFaulty
}

func (s *faultyStore) Delete(ctx context.Context, name string) error {
	if s.left--; s.left >= 0 {
		return s.Store.Delete(ctx, name)
	}
	return errFaulty
}

// An immutableStore deletes nothing, as a bucket with a lock on its objects.
type immutableStore struct{ Store }

func (immutableStore) Delete(context.Context, string) error { return fs.ErrPermission }

package jetstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"truebond/events"
)

// payloadMin is what a server must take in one message: a body with the headers, whose longest is a key.
const payloadMin = events.BodyMax + 16<<10

// From how many events on a batch is faster than one by one: on one server a synced message
// costs 0.2 ms, and a batch 0.6 ms and little for each event, or 3 ms where it is put together
// on the disk. On a cluster each message is a round of the replicas, which a batch needs only
// once.
const (
	batchMinMemory  = 4
	batchMinDisk    = 16
	batchMinCluster = 2
	turnsAbove      = 128 // where a batch is put together in memory
)

// Batching is from how many events on they go as one batch, and above how many two batches
// that take turns are faster: one is decided, and taken in by the server, while the other is
// appended. 0: they never are, since what a batch costs would be paid twice.
func (l *Log) Batching() (from, turns int) {
	switch {
	case l.server == nil:
		return batchMinCluster, 0
	case l.server.assembly.inMemory.Load():
		return batchMinMemory, turnsAbove
	default:
		return batchMinDisk, 0
	}
}

// A KeyTakenError says that an append failed because the log had one of its keys a
// moment ago, at another position. It is an events.ErrBeaten: whoever appended must
// read the log again from where they were.
type KeyTakenError struct {
	Key      string // empty if it is not known which one of the batch
	Position uint64 // 0 likewise
}

func (e *KeyTakenError) Error() string {
	if e.Position == 0 {
		return "the log has one of the batch's keys already"
	}
	return fmt.Sprintf("the log has the key %q already, at %d", e.Key, e.Position)
}

// Unwrap makes it an events.ErrBeaten.
func (e *KeyTakenError) Unwrap() error { return events.ErrBeaten }

// A PartialError says that the first records of an append are in the log for certain,
// and why those behind them are not. It comes when records went one by one, or were in
// already from an append before, never from a batch of new ones.
type PartialError struct {
	In  int   // how many are in
	Err error // what became of the others, as Append would have answered for them alone
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("the first %d are in: %v", e.In, e.Err)
}

// Unwrap is what became of the others.
func (e *PartialError) Unwrap() error { return e.Err }

// Append puts records, whose bodies are encoded, behind the position `after`. Their
// positions are after+1, after+2 and so on.
//
// nil means that all are in the log and on disk. events.ErrBeaten means that another
// event holds their position, so that none of them is in or ever will be. events.ErrShort
// means that the log ends before `after`. When the outcome is unknown, Append tries
// the same records at the same position until one of these is certain; only when ctx
// ends, or the log is closed, does it answer ErrUnknown; and when the embedded server
// cannot write any more, together with events.ErrBroken. A PartialError says the same of
// all but the first records. Other errors come before anything was sent.
//
// Many records go as one atomic batch, which costs one sync; few go one by one where
// that is faster. One append is under way at a time; others wait.
func (l *Log) Append(ctx context.Context, after uint64, records []events.Record) error {
	if err := checkRecords(after, records); err != nil {
		return fmt.Errorf("append after %d: %w", after, err)
	}
	l.appending.Lock()
	defer l.appending.Unlock()
	ctx, cancel := l.within(ctx)
	defer cancel()
	if err := cmp.Or(context.Cause(l.life), context.Cause(ctx)); err != nil {
		return fmt.Errorf("append after %d: %w", after, err)
	}
	ahead := l.staged(after, records)
	step := len(records)
	if from, _ := l.Batching(); step < from && ahead == nil {
		step = 1
	}
	for in := 0; in < len(records); {
		some, err := l.settle(ctx, after+uint64(in), records[in:in+step], ahead)
		in += some
		if err != nil && in > 0 {
			err = &PartialError{In: in, Err: err}
		}
		if err != nil {
			return fmt.Errorf("append %d after %d: %w", len(records), after, err)
		}
	}
	return nil
}

func checkRecords(after uint64, records []events.Record) error {
	if len(records) == 0 || len(records) > events.BatchMax {
		return fmt.Errorf("%d events; 1 to %d are allowed", len(records), events.BatchMax)
	}
	total := 0
	keys := make(map[string]struct{}, len(records))
	for i, r := range records {
		total += len(r.Body)
		switch {
		case r.Position != after+1+uint64(i):
			return fmt.Errorf("event %q has position %d, not %d", r.Key, r.Position, after+1+uint64(i))
		case r.Key == "" || r.Data == nil || len(r.Body) == 0:
			return fmt.Errorf("the event at %d is not encoded", r.Position)
		case len(r.Body) > events.BodyMax:
			return fmt.Errorf("event %q has %d bytes; %d are allowed", r.Key, len(r.Body), events.BodyMax)
		case total > events.BatchBytesMax:
			return fmt.Errorf("the batch has more than %d bytes", events.BatchBytesMax)
		}
		keys[r.Key] = struct{}{}
	}
	if len(keys) < len(records) {
		return errors.New("two of the events have one key")
	}
	return nil
}

const triesQuiet = 3

// settle publishes until the outcome is certain, and tells how many are in. What it
// cannot conclude from the server's answer it reads from the log. What was sent ahead
// counts for the first try only. A server that has no room to put a batch together may
// still take events one by one, or says then why it does not.
func (l *Log) settle(
	ctx context.Context, after uint64, records []events.Record, ahead *ahead,
) (in int, err error) {
	var doubts doubts
	batched := true
	for tries, pause := 1, newPause(); ; tries++ {
		end := len(records)
		if !batched {
			end = in + 1
		}
		tried := l.try(ctx, after+uint64(in), records[in:end], ahead)
		ahead = nil
		if tried == nil {
			l.knows(records[end-1].Position)
			if l.server != nil {
				l.tail.grow(records[in:end])
				l.sure.Store(records[end-1].Position)
			}
			if in = end; in == len(records) {
				return in, nil
			}
			continue
		}
		l.tail.forget() // where the log ends is not certain any more
		if err := l.healthy(ctx); err != nil && ctx.Err() == nil {
			return in, fmt.Errorf("%w: %w: %w", ErrUnknown, events.ErrBroken, err)
		}
		if isRefused(tried, codeIncomplete) { // it could not put the batch together
			batched = batched && tries < triesQuiet
			if l.server != nil {
				l.assemble() // it may be full, or somebody has removed it
			}
		}
		ours, beaten, err := l.find(ctx, records[in:])
		in += ours
		switch {
		case in == len(records):
			return in, nil
		case beaten:
			return in, events.ErrBeaten
		case err != nil:
			tried = errors.Join(tried, err)
		case ours == 0:
			if err := l.explain(ctx, after+uint64(in), records[in], tried, &doubts); err != nil {
				return in, err
			}
		}
		level := slog.LevelDebug // another writer's event may be on its way to the replicas
		if tries >= triesQuiet {
			level = slog.LevelWarn
		}
		l.logger.Log(ctx, level, "log: an append's outcome is unknown; trying again",
			"position", after+1, "events", len(records), "tries", tries, "error", tried)
		if !pause.wait(ctx) {
			return in, fmt.Errorf("%w: %w", ErrUnknown, errors.Join(context.Cause(ctx), tried))
		}
	}
}

// doubts count what must be seen more than once before it is believed: the server
// that answers may be one that is just losing its leadership.
type doubts struct{ short, taken int }

const doubtsMax = 4

// explainMax is how long the log's end is waited for. Trying again may tell as well, and
// needs fewer of a cluster's leaders.
const explainMax = 500 * time.Millisecond

// explain finds why a position that nobody holds cannot be had: the log ends before
// it, or one of the keys is elsewhere. nil means: try again.
func (l *Log) explain(
	ctx context.Context, after uint64, first events.Record, tried error, d *doubts,
) error {
	var twice *duplicateError
	if errors.As(tried, &twice) {
		if taken := l.taken(ctx, twice.position, after, first.Key, d); taken != nil {
			return taken
		}
	}
	if isRefused(tried, codeWrongLast) || isRefused(tried, codeWrongLastToo) {
		once, cancel := context.WithTimeout(ctx, explainMax)
		defer cancel()
		if last, err := l.Last(once); err == nil && last < after {
			if d.short++; d.short >= doubtsMax {
				return fmt.Errorf("%w, at %d", events.ErrShort, last)
			}
		}
	}
	return nil
}

// taken is an error if the key is another event's, at a position the log tells, or does not tell (0).
func (l *Log) taken(ctx context.Context, at, after uint64, key string, d *doubts) error {
	if at == 0 {
		if d.taken++; d.taken >= doubtsMax {
			return &KeyTakenError{}
		}
		return nil
	}
	body, err := l.bodyAnywhere(ctx, at)
	if err != nil {
		return nil // it is tried again
	}
	if there, err := l.record(at, body); err == nil && there.Key == key && at != after+1 {
		return &KeyTakenError{Key: there.Key, Position: there.Position}
	}
	return nil
}

// find reads how many of the records, from the first one on, are in the log, and
// whether another event holds the position of the one behind them. It believes in none
// while the server cannot write, since what it reads may not be on disk then.
func (l *Log) find(ctx context.Context, records []events.Record) (ours int, beaten bool, err error) {
	for ; ours < len(records); ours++ {
		body, err := l.bodyAnywhere(ctx, records[ours].Position)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return 0, false, err
		}
		if beaten = !bytes.Equal(body, records[ours].Body); beaten {
			break
		}
	}
	if ours == 0 {
		return 0, beaten, nil
	}
	if err := l.healthy(ctx); err != nil {
		return 0, false, err
	}
	return ours, beaten, nil
}

package jetstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"

	"truebond/events"
)

// Read reads the event at a position from the stream's leader, so that none that was
// acknowledged is missed. It fails with ErrNotFound when there is none.
func (l *Log) Read(ctx context.Context, position uint64) (events.Record, error) {
	body, err := l.Body(ctx, position)
	if err != nil {
		return events.Record{}, err
	}
	return l.record(position, body)
}

// Body reads the exact bytes of the event at a position. It fails with ErrNotFound when
// there is none.
func (l *Log) Body(ctx context.Context, position uint64) ([]byte, error) {
	if position == 0 {
		return nil, fmt.Errorf("read event 0: %w", ErrNotFound)
	}
	var answer struct {
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	ctx, cancel := l.reading(ctx)
	defer cancel()
	request := map[string]uint64{"seq": position}
	err := l.patiently(ctx, func(ctx context.Context) error {
		return l.call(ctx, "STREAM.MSG.GET."+streamName, request, &answer)
	})
	switch {
	case isRefused(err, codeNoMessage):
		return nil, fmt.Errorf("read event %d: %w", position, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("read event %d: %w", position, err)
	case answer.Message.Seq != position:
		return nil, fmt.Errorf("read event %d: the server sent event %d", position, answer.Message.Seq)
	}
	return answer.Message.Data, nil
}

// bodyForCertain reads the event at a position behind which there are others, and believes only a
// leader that is one that it is not there: one that was cut off answers, too, before it knows.
func (l *Log) bodyForCertain(ctx context.Context, position uint64) ([]byte, error) {
	body, err := l.Body(ctx, position)
	if l.server != nil || !errors.Is(err, ErrNotFound) {
		return body, err
	}
	if _, err := l.state(ctx); err != nil { // it waits for a leader that is one
		return nil, err
	}
	return l.Body(ctx, position)
}

// bodyAnywhere reads the event at a position from any server of a cluster. What is there is
// in the log for certain; what is not may be at others. For this the servers need no leader.
func (l *Log) bodyAnywhere(ctx context.Context, position uint64) ([]byte, error) {
	if l.server != nil {
		return l.Body(ctx, position)
	}
	ctx, cancel := l.reading(ctx)
	defer cancel()
	var answer *nats.Msg
	request := nats.NewMsg("$JS.API.DIRECT.GET." + streamName)
	request.Data = []byte(jsonOf(map[string]uint64{"seq": position}))
	err := l.patiently(ctx, func(ctx context.Context) (err error) {
		answer, err = l.request(ctx, request)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read event %d: %w", position, l.orClosed(err))
	case answer.Header.Get("Status") == "404":
		return nil, fmt.Errorf("read event %d: %w", position, ErrNotFound)
	case answer.Header.Get(nats.JSSequence) != strconv.FormatUint(position, 10):
		return nil, fmt.Errorf("read event %d: the server sent %v", position, answer.Header)
	}
	return answer.Data, nil
}

func (l *Log) record(position uint64, body []byte) (events.Record, error) {
	e, err := l.codec.Decode(position, body)
	return events.Record{Event: e, Body: body}, err
}

// ReadRange reads the next events after a position, max of them at most, and fewer
// only at the log's end. It fails with events.ErrGap when one is missing, and with
// events.ErrShort when the log ends before `after`.
func (l *Log) ReadRange(ctx context.Context, after uint64, max int) ([]events.Record, error) {
	last, err := l.Last(ctx)
	if err != nil {
		return nil, err
	}
	if last < after {
		return nil, fmt.Errorf("read after %d: %w, at %d", after, events.ErrShort, last)
	}
	missing := int(min(last-after, uint64(max))) // #nosec G115 -- max bounds it
	if missing <= 0 {
		return nil, nil
	}
	return gather(ctx, l, missing, func(ctx context.Context, take func([]events.Record) error) error {
		return l.Follow(ctx, after, missing, take)
	})
}

// gather takes so many from what follows the log.
func gather[T any](
	ctx context.Context, l *Log, missing int, follow func(ctx context.Context, take func([]T) error) error,
) ([]T, error) {
	ctx, cancel := l.reading(ctx)
	defer cancel()
	enough := errors.New("enough")
	all := make([]T, 0, missing)
	err := follow(ctx, func(some []T) error {
		all = append(all, some...)
		if len(all) >= missing {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		return nil, err
	}
	return all[:missing], nil
}

// ReadBodies reads the exact bytes of so many events behind a position, all of which the
// caller knows to be there. It fails as ReadRange does.
func (l *Log) ReadBodies(ctx context.Context, after uint64, count int) ([][]byte, error) {
	return gather(ctx, l, count, func(ctx context.Context, take func([][]byte) error) error {
		return l.FollowBodies(ctx, after, count, func(_ uint64, bodies [][]byte) error { return take(bodies) })
	})
}

// Settled reads the exact bytes of the event at a position, once it and all before it are
// on disk for certain: one that follows the log may see events that are not yet.
func (l *Log) Settled(ctx context.Context, position uint64) ([]byte, error) {
	body, err := l.Body(ctx, position) // waits until the batch that it is in is whole and synced
	if err != nil {
		return nil, err
	}
	return body, l.healthy(ctx)
}

// Check looks, at a start, whether this is the log that it was: it begins with event
// 1, nothing is missing from it, and the event at each stored position is the one
// whose SHA-256 (of its body) is stored with it. The error names the place. From a cluster
// that tells an older end it waits for another one, for the time of a read.
func (l *Log) Check(ctx context.Context, stored map[uint64][]byte) error {
	var furthest uint64
	for position := range stored {
		furthest = max(furthest, position)
	}
	state, err := l.stateFrom(ctx, furthest)
	if err != nil && (!errors.Is(err, errOld) || state.LastSeq >= furthest) {
		return err
	}
	switch {
	case state.LastSeq > 0 && state.FirstSeq != 1:
		return fmt.Errorf("%w: it begins with event %d", events.ErrGap, state.FirstSeq)
	case state.NumDeleted > 0 || state.Msgs != state.LastSeq:
		return fmt.Errorf("%w: it has %d events, and the last one is event %d",
			events.ErrGap, state.Msgs, state.LastSeq)
	}
	l.sure.Store(state.LastSeq)
	for _, position := range slices.Sorted(maps.Keys(stored)) {
		if position == 0 {
			continue // nothing was read yet
		}
		if position > state.LastSeq {
			return fmt.Errorf("%w: event %d was in it, and it ends at %d",
				events.ErrShort, position, state.LastSeq)
		}
		body, err := l.Body(ctx, position)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: %d", events.ErrGap, position)
		}
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(body); !bytes.Equal(sum[:], stored[position]) {
			return fmt.Errorf("event %d is not the one that was there: %w", position, ErrOther)
		}
	}
	return nil
}

package jetstream

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"truebond/events"
)

// A Stopped is an embedded log that no server runs on, as it stands in its files. It is read without a server,
// which would write: nothing is changed, also not what a kill has left to be tidied up.
type Stopped struct {
	blocks  blocks
	numbers []int
	durable uint64
	indexed uint64 // the last event when the server noted how the blocks are; 0: it has not

	// Of the blocks that were read:
	firsts []uint64 // the event that each begins with
	left   *Rot
}

// OpenStopped finds the log in a data folder. Up to the durable event, nothing can be half written.
func OpenStopped(dir string, durable uint64) (*Stopped, error) {
	s := &Stopped{blocks: blocksIn(dir), durable: durable}
	var err error
	if s.numbers, err = s.blocks.numbers(); err != nil {
		return nil, err
	}
	index, err := s.blocks.index()
	if err != nil {
		return nil, err
	}
	s.indexed = lastIndexed(index)
	if len(s.numbers) == 0 {
		return s, nil
	}
	stoppedWell, err := s.blocks.trustsIndex(s.newest())
	if err != nil {
		return nil, err
	}
	if stoppedWell {
		s.durable = math.MaxUint64
	}
	return s, nil
}

func (s *Stopped) newest() int { return s.numbers[len(s.numbers)-1] }

// Bodies reads the log from its beginning, and yields the bodies of its events in their order, a block at a time.
// The error wraps a *Rot where a file is not as it was written, or events.ErrGap.
func (s *Stopped) Bodies(ctx context.Context, yield func(bodies [][]byte) error) error {
	s.firsts, s.left = nil, nil
	next := uint64(1)
	for _, n := range s.numbers {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.firsts = append(s.firsts, next)
		bodies, err := s.bodiesOf(n, next)
		next += uint64(len(bodies))
		if yielded := yield(bodies); yielded != nil {
			return yielded
		}
		if err != nil {
			return err
		}
	}
	if next <= s.indexed {
		return fmt.Errorf("%w: %d, and the last one was event %d", events.ErrGap, next, s.indexed)
	}
	return nil
}

// bodiesOf reads a block that is to begin with an event. Beside an error there are those before it.
func (s *Stopped) bodiesOf(number int, next uint64) (bodies [][]byte, err error) {
	block, _, err := s.blocks.read(number)
	if err != nil {
		return nil, err
	}
	h := hasherOf(number)
	for at := 0; at < len(block); {
		length, position := soundRecord(block[at:], h)
		switch {
		case length == 0:
			return bodies, s.unsound(number, &Rot{s.blocks.name(number), at, next})
		case position&removedBits != 0: // a mark that this one was removed, and perhaps some before it
			return bodies, fmt.Errorf("%w: %d", events.ErrGap, min(next, position&^removedBits))
		case position != next:
			return bodies, fmt.Errorf("%w: %d", events.ErrGap, next)
		default:
			bodies, next = append(bodies, bodyOf(block[at:at+length])), next+1
		}
		at += length
	}
	return bodies, nil
}

// unsound tells damage from what a crash has left half written.
func (s *Stopped) unsound(number int, found *Rot) error {
	damage := found
	if number == s.newest() && found.Position > s.durable {
		var err error
		if damage, err = s.blocks.beforeLastAppend(number, found); err != nil {
			return err
		}
	}
	if damage != nil {
		return damage
	}
	s.left = found
	return nil
}

// Left is what a crash has left half written behind the last event, once all was read; nil: nothing. A server
// cuts it off when it starts.
func (s *Stopped) Left() *Rot { return s.left }

// Body reads an event again that Bodies has yielded before.
func (s *Stopped) Body(_ context.Context, position uint64) ([]byte, error) {
	i, begins := slices.BinarySearch(s.firsts, position)
	if !begins {
		i--
	}
	if i < 0 {
		return nil, fmt.Errorf("read event %d: %w", position, ErrNotFound)
	}
	bodies, err := s.bodiesOf(s.numbers[i], s.firsts[i])
	if at := position - s.firsts[i]; at < uint64(len(bodies)) {
		return bodies[at], nil
	}
	if err == nil {
		err = ErrNotFound
	}
	return nil, fmt.Errorf("read event %d: %w", position, err)
}

// Close has nothing to let go of.
func (*Stopped) Close() error { return nil }

// bodyOf is the body in a sound record.
func bodyOf(record []byte) []byte {
	from := recordHead + int(binary.LittleEndian.Uint16(record[subjectSizeAt:]))
	if binary.LittleEndian.Uint32(record)&headersBit != 0 {
		from += headersSize + int(binary.LittleEndian.Uint32(record[from:]))
	}
	return record[from : len(record)-recordHash]
}

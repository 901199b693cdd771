// Package audit reads a whole log as somebody who trusts nobody, and says where it is not
// what it must be.
package audit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"truebond/events"
	"truebond/events/merkle"
)

// A Fault is what is wrong with a log, and where.
type Fault struct {
	Position uint64 // the first event that is not as it must be; 0 if nobody can tell which it is
	Err      error
}

func (f *Fault) Error() string {
	if f.Position == 0 {
		return f.Err.Error()
	}
	return fmt.Sprintf("event %d: %v", f.Position, f.Err)
}

// Unwrap is what is wrong.
func (f *Fault) Unwrap() error { return f.Err }

// A Reader is shown the bodies of a log from the first event on. It checks of each that
// it can be read, that its moves balance, that its key was not there before, that its time
// does not go back and its cause is behind it; and of all, that they have the roots that
// were signed.
type Reader struct {
	// Told is told of each event that is right so far, when it is set.
	Told func(events.Event)

	codec   *events.Codec
	checker *merkle.Checker
	body    func(position uint64) ([]byte, error) // reads an event that was shown before

	seed maphash.Seed
	keys map[uint64]uint64 // hash of a key → the position that had it first
	last time.Time
}

// NewReader makes a reader of a log that is checked against checkpoints. body reads an
// event that the reader was shown before, again: it keeps hashes of keys, 8 bytes each,
// and looks at the key itself when two are alike.
func NewReader(codec *events.Codec, checker *merkle.Checker, body func(position uint64) ([]byte, error)) *Reader {
	return &Reader{codec: codec, checker: checker, body: body, seed: maphash.MakeSeed(), keys: map[uint64]uint64{}}
}

// Read is how many events were read.
func (r *Reader) Read() uint64 { return r.checker.Tree().Size() }

// Root is the root of what was read.
func (r *Reader) Root() merkle.Hash { return r.checker.Tree().Root() }

// Add takes the next event's body. Its error is a Fault, or what body says.
func (r *Reader) Add(body []byte) error {
	position := r.Read() + 1
	e, err := r.codec.Decode(position, body) // which refuses moves that do not balance
	if err != nil {
		return &Fault{position, err}
	}
	if e.Time.Before(r.last) {
		return &Fault{position, fmt.Errorf("it is of %s, and the one before it is of %s",
			e.Time.Format(time.RFC3339Nano), r.last.Format(time.RFC3339Nano))}
	}
	if e.Cause >= position {
		return &Fault{position, fmt.Errorf("it was caused by event %d, which is not before it", e.Cause)}
	}
	if err := r.checkKey(position, e.Key); err != nil {
		return err
	}
	r.last = e.Time
	if err := r.checker.Add(body); err != nil {
		return &Fault{0, err}
	}
	if r.Told != nil {
		r.Told(e)
	}
	return nil
}

// Done says that there are no more. Its error is a Fault.
func (r *Reader) Done() error {
	err := r.checker.Done()
	if errors.Is(err, merkle.ErrShort) {
		return &Fault{r.Read() + 1, err}
	}
	if err != nil {
		return &Fault{0, err}
	}
	return nil
}

func (r *Reader) checkKey(position uint64, key string) error {
	hash := maphash.String(r.seed, key)
	first, known := r.keys[hash]
	if !known {
		r.keys[hash] = position
		return nil
	}
	body, err := r.body(first)
	if err != nil {
		return fmt.Errorf("read event %d again: %w", first, err)
	}
	e, err := r.codec.Decode(first, body)
	if err != nil {
		return &Fault{first, err}
	}
	if e.Key == key {
		return &Fault{position, fmt.Errorf("its key %q was used before, by event %d", key, first)}
	}
	return nil // two keys with one hash: the later one is not remembered
}

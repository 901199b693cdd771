package writer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"truebond/events"
	"truebond/events/jetstream"
)

// faults decide what goes wrong, and what time it is.
type faults struct {
	late sync.WaitGroup // appends that nobody waits for

	mu     sync.Mutex
	rand   *rand.Rand
	often  int // of ten times
	moment time.Time
}

func newFaults(seed uint64) *faults {
	return &faults{rand: rand.New(rand.NewPCG(seed, 0)), moment: morning} // #nosec G404 -- a test's
}

// plan makes things go wrong so often, of ten times.
func (f *faults) plan(often int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.often = often
}

func (f *faults) end() { f.plan(0) }

func (f *faults) below(n uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.Uint64N(n)
}

// strikes is the number of the fault that happens now; 0 for none.
func (f *faults) strikes(kinds int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rand.IntN(10) >= f.often {
		return 0
	}
	return 1 + f.rand.IntN(kinds)
}

// now goes on by a second or so, and sometimes back.
func (f *faults) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moment = f.moment.Add(time.Duration(f.rand.IntN(1500)-100) * time.Millisecond)
	if f.rand.IntN(20) == 0 {
		return f.moment.Add(-time.Minute)
	}
	return f.moment
}

var errFault = errors.New("a fault")

func (f *faults) fetch(context.Context, string, []string) error {
	switch f.strikes(8) {
	case 1:
		return errFault
	case 2, 3:
		time.Sleep(time.Duration(f.below(2000)) * time.Microsecond)
	}
	return nil
}

// A faultyLog is the real log over a line that loses things.
type faultyLog struct {
	*jetstream.Log
	*faults
}

func (l faultyLog) Append(ctx context.Context, after uint64, records []events.Record) error {
	switch l.strikes(6) {
	case 1: // it never gets there
		return errFault
	case 2: // the answer gets lost
		return errors.Join(l.Log.Append(ctx, after, records), errFault)
	case 3: // it gets there later, if its place is still free
		l.late.Go(func() {
			time.Sleep(time.Duration(l.below(3000)) * time.Microsecond)
			_ = l.Log.Append(context.Background(), after, records) // nobody waits for it
		})
		return errFault
	case 4: // a part of it gets there
		part := records[:l.below(uint64(len(records)))]
		if len(part) == 0 {
			return errFault
		}
		return errors.Join(l.Log.Append(ctx, after, part), errFault)
	case 5:
		time.Sleep(time.Duration(l.below(3000)) * time.Microsecond)
	}
	return l.Log.Append(ctx, after, records)
}

func (l faultyLog) Read(ctx context.Context, position uint64) (events.Record, error) {
	if l.strikes(4) == 1 {
		return events.Record{}, errFault
	}
	return l.Log.Read(ctx, position)
}

func (l faultyLog) ReadRange(ctx context.Context, after uint64, max int) ([]events.Record, error) {
	if l.strikes(4) == 1 {
		return nil, errFault
	}
	return l.Log.ReadRange(ctx, after, max)
}

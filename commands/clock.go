package commands

import (
	"sync"
	"time"
)

// A Clock tells the time that the ledger goes by: to the writer, to timers and to
// queries alike. It never goes back, not even behind the last event: what was decided
// then is past. A test clock stands still until it is set. Tokens, rate limits and
// signatures never go by it.
type Clock struct {
	read func() (wall time.Time, running time.Duration) // the wall clock, and one that nobody sets

	mu    sync.Mutex
	test  bool
	last  time.Time     // what it told last; where a test clock stands
	at    time.Duration // what the clock that nobody sets showed then
	ahead time.Duration // how much the wall clock was behind it then
}

// slower is by which part it goes slower than time while the wall clock is behind it, which
// catches up with an hour in four days. A call's minute is hardly longer by that.
const slower = 100

// WallClock goes as time does, from the later of now and the last event's time.
func WallClock(lastEvent time.Time) *Clock {
	began := time.Now()
	return &Clock{last: lastEvent, read: func() (time.Time, time.Duration) {
		now := time.Now()
		return now.UTC().Round(0), now.Sub(began)
	}}
}

// TestClock stands still at the later of the wall clock's time and the last event's.
func TestClock(lastEvent time.Time) *Clock {
	return &Clock{test: true, last: later(time.Now().UTC().Truncate(time.Millisecond), lastEvent)}
}

// Now is the time, UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

// now is Now. Hold mu.
func (c *Clock) now() time.Time {
	if c.test {
		return c.last
	}
	wall, running := c.read()
	passed := running - c.at
	// A wall clock that was set back is not followed. One that was then set right again is.
	c.last, c.at = later(wall, c.last.Add(passed-passed/slower)), running
	c.ahead = c.last.Sub(wall)
	return c.last
}

// Ahead is how much the wall clock is behind, since an event is from its future.
func (c *Clock) Ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now()
	return c.ahead
}

// Reach makes sure that the clock is not behind a time: the last event that another
// process wrote.
func (c *Clock) Reach(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = later(c.now(), at)
}

// IsTest tells whether it is a test clock.
func (c *Clock) IsTest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.test
}

// set moves a test clock to a time, never back.
func (c *Clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.test {
		c.last = later(c.last, at)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

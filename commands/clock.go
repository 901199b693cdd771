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
	mu    sync.Mutex
	test  bool
	last  time.Time     // what it told last; where a test clock stands
	ahead time.Duration // how much the wall clock is behind it
}

// WallClock goes as time does, from the later of now and the last event's time.
func WallClock(lastEvent time.Time) *Clock { return &Clock{last: lastEvent} }

// TestClock stands still at the later of the wall clock's time and the last event's.
func TestClock(lastEvent time.Time) *Clock {
	return &Clock{test: true, last: later(time.Now().UTC().Truncate(time.Millisecond), lastEvent)}
}

// Now is the time, UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.test {
		return c.last
	}
	now := time.Now().UTC().Round(0).Add(c.ahead)
	if now.Before(c.last) { // the wall clock was set back: go on from here
		c.ahead += c.last.Sub(now)
		now = c.last
	}
	c.last = now
	return now
}

// Ahead is how much the wall clock is behind, since an event is from its future.
func (c *Clock) Ahead() time.Duration {
	c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead
}

// Reach makes sure that the clock is not behind a time: the last event that another
// process wrote.
func (c *Clock) Reach(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = later(c.last, at)
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

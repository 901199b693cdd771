package commands

import (
	"sync"
	"time"
)

// A Clock tells the time that the ledger goes by. A test clock stands still until it
// is set; tokens, rate limits and signatures never go by it.
type Clock struct {
	mu    sync.Mutex
	still *time.Time // nil: the wall clock
}

// WallClock goes as time does.
func WallClock() *Clock { return &Clock{} }

// TestClock stands still at the later of the wall clock's time and the last event's.
func TestClock(lastEvent time.Time) *Clock {
	at := later(time.Now().UTC().Truncate(time.Millisecond), lastEvent)
	return &Clock{still: &at}
}

// Now is the time, UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still != nil {
		return *c.still
	}
	return time.Now().UTC()
}

// IsTest tells whether it is a test clock.
func (c *Clock) IsTest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.still != nil
}

// set moves a test clock to a time, never back.
func (c *Clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still != nil && at.After(*c.still) {
		c.still = &at
	}
}

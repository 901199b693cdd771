package commands

import (
	"testing"
	"time"
)

// hands are a wall clock that can be set, and one that nobody sets.
type hands struct {
	wall    time.Time
	running time.Duration
}

func (h *hands) pass(d time.Duration) { h.wall, h.running = h.wall.Add(d), h.running+d }

func (h *hands) set(by time.Duration) { h.wall = h.wall.Add(by) }

func (h *hands) read() (time.Time, time.Duration) { return h.wall, h.running }

func TestTheLedgersClockGoesOnWhenTheWallClockIsSet(t *testing.T) {
	begun := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	h := &hands{wall: begun}
	c := &Clock{read: h.read}
	told := c.Now()
	// is looks how far the clock has come, to one part in a hundred of the time that has passed.
	is := func(what string, want time.Duration) {
		t.Helper()
		now := c.Now()
		if off := now.Sub(begun.Add(want)).Abs(); off > h.running/slower || now.Before(told) {
			t.Errorf("%s: the clock has gone %v, not %v", what, now.Sub(begun), want)
		}
		told = now
	}
	h.pass(time.Minute)
	is("time passes", time.Minute)
	h.set(-time.Hour)
	is("it was set back", time.Minute)
	h.pass(time.Minute)
	is("it goes on", 2*time.Minute)
	h.set(time.Hour)
	is("it was set right", 2*time.Minute)
	h.pass(time.Minute)
	if c.Now() != h.wall || c.Ahead() != 0 {
		t.Errorf("it is ahead by %v although the wall clock is right again", c.Ahead())
	}
	h.set(24 * time.Hour)
	is("it was set forward", 24*time.Hour+3*time.Minute)
	h.set(-24 * time.Hour)
	h.pass(time.Minute)
	is("it was set right", 24*time.Hour+4*time.Minute)
}

func TestTheWallClockCatchesUpWithTheLedgersClock(t *testing.T) {
	h := &hands{wall: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	c := &Clock{read: h.read, last: h.wall.Add(time.Minute)} // when the last event was
	if ahead := c.Ahead(); ahead != time.Minute {
		t.Fatalf("it begins ahead by %v", ahead)
	}
	for range 99 {
		before := c.Now()
		h.pass(time.Minute)
		if passed := c.Now().Sub(before); passed < time.Minute-time.Second || passed > time.Minute {
			t.Fatalf("a minute takes %v", passed)
		}
	}
	if ahead := c.Ahead(); ahead <= 0 {
		t.Errorf("it is ahead by %v: it does not go at an even speed", ahead)
	}
	h.pass(2 * time.Minute)
	if ahead := c.Ahead(); ahead != 0 {
		t.Errorf("it is ahead still, by %v", ahead)
	}
}

func TestAClockThatReachesAnEventOfAnotherServerGoesOnFromIt(t *testing.T) {
	h := &hands{wall: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	c := &Clock{read: h.read}
	c.Now()
	h.pass(time.Hour) // it follows, and nobody asks it
	event := h.wall.Add(time.Minute)
	c.Reach(event)
	if now := c.Now(); now != event {
		t.Errorf("the last event was at %v, and the clock shows %v", event, now)
	}
}

package writer

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
)

func TestManyTogetherLeaveRoomForThoseWhoComeAlone(t *testing.T) {
	for name, limits := range map[string]Limits{
		"in the queue":       {Queue: 16, Lag: 100, Documents: 100},
		"before the storage": {Queue: 100, Lag: 16, Documents: 100},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.Writer = d.newWriter(limits)
				var many []Command
				for i := range 15 {
					many = append(many, block(fmt.Sprint("k", i), fmt.Sprint("u", i)))
				}
				gate := make(gate)
				d.log.before = gate.pass
				d.open()
				if _, err := d.askAll(many...)(); !errors.Is(err, ErrOverloaded) {
					t.Errorf("15 of 16 places: %v", err)
				}
				taken := d.askAll(many[:14]...)
				alone := d.ask(block("alone", "bob"))
				close(gate)
				if _, err := taken(); err != nil {
					t.Errorf("14 of 16 places: %v", err)
				}
				alone.got()
			})
		})
	}
}

// A pace is commands that come steadily, while documents are stored at another pace.
type pace struct {
	brake        brake
	last, stored int
	come, follow int // a second
	waiting      int
}

const farOff = 10_000

// passes lets some time pass. It tells how many were let in, and how far the documents were behind at most.
func (p *pace) passes(d time.Duration) (letIn, behind int) {
	const step = time.Second / 10
	for range d / step {
		time.Sleep(step)
		p.stored = min(p.stored+p.follow/10, p.last)
		p.waiting += p.come / 10
		for ; p.waiting > 0; p.waiting-- {
			if p.brake.holds(uint64(p.stored), p.last > p.stored+farOff) && !p.brake.lets(1, 0) {
				p.waiting = 0 // they are sent away
				break
			}
			p.last++
			letIn++
		}
		behind = max(behind, p.last-p.stored)
	}
	return letIn, behind
}

func TestLoadThatLastsIsHeldBackUntilTheStorageIsNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace{come: 9000, follow: 6000}
		if letIn, behind := p.passes(12 * time.Second); letIn != 12*9000 || behind < 35_000 {
			t.Errorf("in a burst of 12 seconds %d are let in, to %d behind", letIn, behind)
		}
		p.passes(30 * time.Second)
		for range 10 { // not again and again
			letIn, behind := p.passes(30 * time.Second)
			if behind > farOff+earnedMax || letIn < 30*5900 {
				t.Errorf("then %d are let in, to %d behind", letIn, behind)
			}
		}

		p.come = 100 // and there is room for the next burst
		p.passes(time.Minute)
		p.come = 9000
		if letIn, _ := p.passes(10 * time.Second); letIn != 10*9000 {
			t.Errorf("in the next burst %d are let in", letIn)
		}
	})
}

func TestBurstsAreNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace{follow: 6000}
		for range 10 {
			p.come = 50_000
			if letIn, _ := p.passes(time.Second); letIn != 50_000 {
				t.Errorf("%d are let in", letIn)
			}
			p.come = 0
			p.passes(9 * time.Second)
		}
	})
}

// As while MongoDB is away, and when it is there again.
func TestNobodyIsHeldBackForAStorageThatStandsStillAndComesNearerLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace{come: 500, follow: 6000}
		p.passes(time.Second)
		p.follow = 0
		if letIn, behind := p.passes(2 * time.Minute); letIn != 120*500 || behind < 4*farOff-1 {
			t.Errorf("%d are let in, to %d behind", letIn, behind)
		}
		p.follow = 6000
		if letIn, _ := p.passes(30 * time.Second); letIn < 30*500-2*500 || p.last-p.stored > 1000 {
			t.Errorf("%d are let in, and it is %d behind", letIn, p.last-p.stored)
		}
	})
}

// As with a disk that is nearly full of other work.
func TestNobodyIsHeldBackForAStorageThatCrawls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace{come: 500, follow: 20}
		if letIn, _ := p.passes(3 * time.Minute); letIn != 180*500 {
			t.Errorf("%d are let in", letIn)
		}
	})
}

func TestAppsAreHeldBackAndNobodyElse(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.Writer = d.newWriter(Limits{Queue: 2 * stride, Lag: 4 * stride, Far: 1, Documents: 2 * stride})
		d.open()
		asks := func(key string, who events.ActorKind) *asking {
			c := block(key, key)
			c.Actor.Kind = who
			return d.ask(c)
		}
		var many []Command
		for i := range stride + 2 {
			many = append(many, block(fmt.Sprint("k", i), fmt.Sprint("u", i)))
		}
		if _, err := d.askAll(many...)(); err != nil {
			t.Fatal(err)
		}
		asks("burst", events.ActorApp).got()
		time.Sleep(burstMax + time.Second)
		d.shelf.store(t, d.log.records[:stride]...) // it moves
		for i := range stride / price {
			asks(fmt.Sprint("earned", i), events.ActorApp).got()
		}
		asks("held", events.ActorApp).refused(ErrOverloaded)
		for _, others := range []events.ActorKind{events.ActorUser, events.ActorSystem, events.ActorStripe, events.ActorOperator} {
			asks(string(others), others).got()
		}
		asks("held", events.ActorApp).refused(ErrOverloaded)
	})
}

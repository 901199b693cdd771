package writer

import (
	"testing"

	"truebond/events"
	"truebond/ledger"
)

func TestTheSameKeyAgainGetsTheFirstEvent(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		first := d.ask(with("a", block("k", "bob"))).got()
		again := d.ask(with("a", block("k", "bob"))).got()
		if !again.Replayed || again.Event.Position != first.Event.Position || again.Event.Data != first.Event.Data {
			t.Errorf("got %+v", again)
		}
		if any := d.ask(block("k", "cid")).got(); !any.Replayed {
			t.Errorf("got %+v", any)
		}
		d.ask(with("b", block("k", "bob"))).refused(ErrKeyReused)

		d.ask(block("free", "dan")).got() // any request may come under this key again
		if got := d.ask(with("a", block("free", "dan"))).got(); !got.Replayed {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAKeyThatOnlyTheStoreKnowsIsAReplay(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		c := with("a", block("k", "bob"))
		d.shelf.store(t, d.log.otherAsks(t, c, events.UserBlocked{User: "ann", Blocked: "bob"}))
		d.open()
		if got := d.ask(c).got(); !got.Replayed || got.Event.Position != 1 {
			t.Errorf("got %+v", got)
		}
		d.ask(with("b", c)).refused(ErrKeyReused)
	})
}

// It is done, and what it came to cannot be told just now.
func TestWhatTheLogDoesNotGiveIsAskedForAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		c := with("a", block("k", "bob"))
		d.shelf.store(t, d.log.otherAsks(t, c, events.UserBlocked{User: "ann", Blocked: "bob"}))
		d.open()
		d.log.mute(true)
		d.ask(c).refused(ledger.ErrUnavailable)
		d.log.mute(false)
		if got := d.ask(c).got(); !got.Replayed {
			t.Errorf("got %+v", got)
		}
	})
}

// The log keeps what a request came to be hashed as when it came.
func TestARequestIsKnownAgainAsAnEarlierProgramHashedIt(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		c := with("as before", block("k", "bob"))
		d.shelf.store(t, d.log.otherAsks(t, c, events.UserBlocked{User: "ann", Blocked: "bob"}))
		d.open()
		c = with("as now", c)
		d.ask(c).refused(ErrKeyReused)
		c.Older = []byte("as before")
		if got := d.ask(c).got(); !got.Replayed || got.Event.Position != 1 {
			t.Errorf("got %+v", got)
		}
		c.Older = []byte("another")
		d.ask(c).refused(ErrKeyReused)
	})
}

func TestAKeyUnderWayIsBusy(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		first := d.ask(block("k", "bob"))
		d.ask(block("k", "bob")).refused(ErrKeyBusy)
		close(gate)
		first.got()
		if got := d.ask(block("k", "bob")).got(); !got.Replayed {
			t.Errorf("got %+v", got)
		}
	})
}

func TestFiftyWhoJoinGetOneEvent(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		first := d.ask(with("a", block("k", "bob")))
		var others []*asking
		for range 49 {
			others = append(others, d.begin(joining(with("a", block("k", "bob")))))
		}
		another := d.ask(joining(with("b", block("k", "bob"))))
		close(gate)
		if got := first.got(); got.Replayed {
			t.Errorf("got %+v", got)
		}
		for _, a := range others {
			if got := a.got(); !got.Replayed || got.Event.Position != 1 {
				t.Errorf("got %+v", got)
			}
		}
		another.refused(ErrKeyReused)
		if d.log.keys() != "k" || d.log.reads > 0 {
			t.Errorf("the log has %s, and was read %d times", d.log.keys(), d.log.reads)
		}
	})
}

func TestWhoJoinsARefusedOneIsDecidedThemselves(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.log.before = gate.pass
		d.open()
		d.ask(block("k0", "bob"))
		refused := d.ask(block("k", "bob"))
		joins := d.ask(joining(block("k", "cid")))
		close(gate)
		refused.refused(errBlocked)
		if got := joins.got(); got.Replayed || got.Event.Position != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

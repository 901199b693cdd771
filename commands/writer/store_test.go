package writer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/ledger"
)

func TestAStoreThatFailsRefusesWhatNeedsIt(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		d.ask(block("k0", "abe")).got()
		down := true
		d.shelf.fetch = func(context.Context, string, []string) error {
			if down {
				return errors.New("the store is down")
			}
			return nil
		}
		wish := block("k1", "bob")
		wish.Decide = lookingAt("eve", wish.Decide)
		d.ask(wish).refused(ledger.ErrUnavailable)
		if got := d.ask(block("k0", "abe")).got(); !got.Replayed { // all of it is in memory
			t.Errorf("got %+v", got)
		}
		down = false
		d.ask(wish).got()
	})
}

func TestAStoreThatHangsCountsAsFailed(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		hangs := true
		d.shelf.fetch = func(ctx context.Context, _ string, _ []string) error {
			if hangs {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		d.open()
		a := d.ask(block("k1", "bob"))
		if a.answered() {
			t.Fatal("answered at once")
		}
		a.refused(ledger.ErrUnavailable)
		hangs = false
		d.ask(block("k1", "bob")).got()
	})
}

func TestAStoredDocumentThatCannotBeReadIsNotTakenForNone(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.shelf.docs[ledger.Ref{Fold: ledger.Blocks.Name, Key: "ann"}] = StoredDocument{Body: []byte("{")}
		d.open()
		d.ask(block("k1", "bob")).refused(ledger.ErrUnavailable)
		if !strings.Contains(d.said.String(), "cannot be read") {
			t.Error("nobody was told")
		}
	})
}

func TestACommandThatNeverKnowsEnoughIsGivenUp(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		n := 0
		a := d.ask(Command{Key: "k1", Actor: events.System, Decide: func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
			n++
			_ = ledger.Load(tx, ledger.Accounts, fmt.Sprint(n))
			return events.UserBlocked{User: "ann", Blocked: "bob"}, nil, nil
		}})
		<-a.ended
		if a.err == nil {
			t.Fatal("it was decided")
		}
		d.ask(block("k1", "bob")).got()
	})
}

func TestWhatManyLackIsFetchedTogether(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		gate := make(gate)
		d.shelf.fetch = func(context.Context, string, []string) error { return gate.pass(0) }
		d.open()
		var all []*asking
		for i := range 500 {
			all = append(all, d.begin(block(fmt.Sprint("k", i), fmt.Sprint("u", i))))
		}
		synctest.Wait()
		close(gate)
		for _, a := range all {
			a.got()
		}
		// A look-up asks for two folds; few are under way, and the rest waits for one more.
		if asked := d.shelf.asked.Load(); asked > 3*fetchesMax {
			t.Errorf("the store was asked %d times", asked)
		}
	})
}

func TestANewKeyNeedsNoLookUp(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.open()
		d.ask(block("k1", "bob")).got()
		before := d.shelf.asked.Load()
		d.ask(block("k2", "eve")).got() // what it looks at is at hand
		if asked := d.shelf.asked.Load() - before; asked != 0 {
			t.Errorf("the store was asked %d times", asked)
		}
		wish := block("k3", "abe")
		wish.Decide = lookingAt("abe", wish.Decide)
		d.ask(wish).got()
		if asked := d.shelf.asked.Load() - before; asked != 1 {
			t.Errorf("the store was asked %d times", asked)
		}
	})
}

func TestWhileStoredKeysAreNotKnownANewCommandNeedsOneLookUp(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.shelf.keysFail.Store(true)
		d.open()
		d.ask(block("k1", "bob")).got()
		before := d.shelf.asked.Load()
		wish := block("k2", "eve")
		wish.Decide = lookingAt("eve", wish.Decide)
		d.ask(wish).got()
		if asked := d.shelf.asked.Load() - before; asked != 2 { // keys and blocks, in one go
			t.Errorf("the store was asked %d times", asked)
		}
		d.shelf.keysFail.Store(false)
		time.Sleep(time.Minute) // it is tried again
		synctest.Wait()
		before = d.shelf.asked.Load()
		d.ask(block("k3", "abe")).got()
		if asked := d.shelf.asked.Load() - before; asked != 0 {
			t.Errorf("the store was asked %d times", asked)
		}
	})
}

// lookingAt is a decision that looks at somebody's blocks first.
func lookingAt(user string, decide ledger.Decision) ledger.Decision {
	return func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
		_ = ledger.Load(tx, ledger.Blocks, user)
		return decide(tx)
	}
}

func TestMemoryIsBoundedAlsoWhenNothingIsWritten(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		const most = 100
		d.Writer = d.newWriter(Limits{Queue: 10, Lag: 100, Documents: most})
		stop := running(t, d.Writer)
		for i := range 20 * most {
			err := d.Look(t.Context(), func(tx *ledger.Tx) error {
				_ = ledger.Load(tx, ledger.Emails, fmt.Sprint("guess ", i))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if n := len(d.memory.docs); n > most+1 {
			t.Errorf("%d documents are in memory", n)
		}
	})
}

func TestWhatIsNotStoredYetStaysInMemory(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.Writer = d.newWriter(Limits{Queue: 10, Lag: 1000, Documents: 5})
		stop := running(t, d.Writer)
		for i := range 100 {
			d.ask(block(fmt.Sprint("k", i), fmt.Sprint("u", i))).got()
		}
		d.ask(block("again", "u0")).refused(errBlocked)
		if got := d.ask(block("k0", "u0")).got(); !got.Replayed {
			t.Errorf("got %+v", got)
		}
		d.shelf.store(t, d.log.records...)
		for i := range 20 {
			d.ask(block(fmt.Sprint("l", i), fmt.Sprint("w", i))).got()
		}
		stop()
		if n := len(d.memory.docs); n > 50 {
			t.Errorf("%d documents are in memory, and most of them are stored", n)
		}
	})
}

// A tardy store reads documents of bob's at once and hands them over when it may.
type tardy struct {
	*shelf
	gate  gate
	asked int // for bob's
}

func (s *tardy) Fetch(ctx context.Context, fold string, keys []string) (map[string]StoredDocument, error) {
	found, err := s.shelf.Fetch(ctx, fold, keys)
	if keys[0] == "bob" {
		s.asked++
		if s.asked == 1 {
			<-s.gate
		}
	}
	return found, err
}

// blockAnn is what bob asks for.
func blockAnn(key string) Command {
	return Command{Key: key, Actor: events.System, Decide: func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
		if ledger.Load(tx, ledger.Blocks, "bob").Has("ann") {
			return nil, nil, errBlocked
		}
		return events.UserBlocked{User: "bob", Blocked: "ann"}, nil, nil
	}}
}

func TestWhatWasFetchedBeforeTheLogWasReadAgainIsVoid(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		store := &tardy{shelf: d.shelf, gate: make(gate)}
		d.Writer = d.newWriter(Limits{Queue: 10, Lag: 1000})
		d.stored = store
		d.open()
		late := d.ask(blockAnn("k1"))
		// While bob's list is on its way, another writer changes it, this one reads that,
		// and forgets it again, since it is stored.
		d.log.otherWrites(t, "other", events.UserBlocked{User: "bob", Blocked: "ann"})
		for i := range 40 {
			d.ask(block(fmt.Sprint("b", i), fmt.Sprint("u", i))).got()
			d.shelf.store(t, d.log.records[d.shelf.Stored():]...)
		}
		close(store.gate)
		late.refused(errBlocked)
	})
}

func TestWhatWasFetchedForACommandStaysUntilItIsDecided(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		store := &tardy{shelf: d.shelf, gate: make(gate)}
		d.Writer = d.newWriter(Limits{Queue: 10, Lag: 1000})
		d.stored = store
		d.open()
		early := 0
		late := d.ask(Command{Key: "k1", Actor: events.System,
			Decide: func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
				early++
				_ = ledger.Load(tx, ledger.Blocks, "cid")
				if len(tx.Missing()) == 0 {
					_ = ledger.Load(tx, ledger.Blocks, "bob")
				}
				return events.UserBlocked{User: "bob", Blocked: "ann"}, nil, nil
			}})
		for i := range 40 {
			d.ask(block(fmt.Sprint("b", i), fmt.Sprint("u", i))).got()
			d.shelf.store(t, d.log.records[d.shelf.Stored():]...)
		}
		close(store.gate)
		late.got()
		if early != 3 {
			t.Errorf("it was run %d times: what it had was forgotten", early)
		}
	})
}

func TestAKeyThatIsUsedWhileTheStoreLooksForItStaysUsed(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		store := &tardy{shelf: d.shelf, gate: make(gate)}
		d.shelf.keysFail.Store(true)
		d.stored = store
		d.open()
		looked := make(chan error, 1)
		go func() {
			looked <- d.Look(t.Context(), func(tx *ledger.Tx) error {
				_ = ledger.Load(tx, ledger.Keys, "bob")
				return nil
			})
		}()
		synctest.Wait()
		// While the store's answer is on its way, the writer learns by itself that the key is
		// new, has it used, and forgets it again, since it is stored.
		d.shelf.keysFail.Store(false)
		time.Sleep(time.Second)
		once := func(key string) *asking {
			return d.ask(Command{Key: key, Actor: events.System,
				Decide: func(*ledger.Tx) (events.Payload, []events.Move, error) {
					return events.UserBlocked{User: "ann", Blocked: "eve"}, nil, nil
				}})
		}
		once("bob").got()
		d.shelf.store(t, d.log.records...)
		once("other").got()
		close(store.gate)
		if err := <-looked; err != nil {
			t.Fatal(err)
		}
		if got := once("bob").got(); !got.Replayed {
			t.Errorf("the key was used twice: %s", d.log.keys())
		}
	})
}

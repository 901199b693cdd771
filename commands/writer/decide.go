package writer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// askedMax is how often one command may ask for documents that are not at hand. What
// was fetched for it stays, so one that asks more often never knows enough.
const askedMax = 100

// errGone is for those who join a command whose caller has left: they ask themselves.
var errGone = errors.New("the caller has left")

// decideSome decides some of what is ready into the next batch, and notes the documents
// that were missing.
func (l *loop) decideSome() {
	taken := 0
	for taken < min(len(l.ready), decideMax) && !l.next.full() {
		c := l.ready[taken]
		taken++
		missing := l.decide(c)
		if len(missing) == 0 {
			continue
		}
		if c.asked++; c.asked > askedMax {
			l.settleAlone(c, fmt.Errorf("command %q never has the documents that it asks for", c.Key))
			continue
		}
		for _, ref := range missing {
			if _, under := l.fetching[ref]; !under {
				l.wanted = append(l.wanted, ref)
			}
			l.fetching[ref] = append(l.fetching[ref], c)
			c.lacks++
		}
	}
	l.ready = slices.Delete(l.ready, 0, taken)
	l.stage()
}

// settleAlone ends a command that came to nothing, whatever others come to.
func (l *loop) settleAlone(c *waiting, err error) {
	c.result = result{err: err}
	l.settle(c)
}

// decide runs one command's decision, and puts what it came to into the next batch. If
// it lacks documents, it returns them and changes nothing.
func (l *loop) decide(c *waiting) (missing []ledger.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		l.settleAlone(c, errGone)
		return nil
	}
	now := l.now().UTC().Truncate(time.Millisecond)
	if now.Before(l.lastTime) {
		now = l.lastTime
	}
	tx := ledger.NewTx(now, l.memory)
	if c.look != nil {
		err := l.runLook(c, tx)
		if len(tx.Missing()) == 0 {
			l.next.add(c, result{err: err})
		}
		return distinct(tx.Missing())
	}
	used := ledger.Load(tx, ledger.Keys, c.Key)
	if used.Position != 0 {
		l.next.add(c, result{replayOf: used.Position})
		return nil
	}
	// Whether the key was used may not be known yet. What else the command needs is
	// found out all the same, so that all of it is fetched at once.
	unknown := len(tx.Missing())
	payload, moves, err := l.runDecision(c, tx)
	missing = tx.Missing()
	if len(missing) > unknown || len(missing) > 0 && err != nil {
		return distinct(missing)
	}
	if err != nil {
		l.next.add(c, result{err: err})
		return nil
	}
	return l.accept(c, events.Event{
		Position: l.nextPosition(), Key: c.Key, Time: now, Effective: effective(c.Effective, now), Actor: c.Actor,
		Cause: c.Cause, Request: c.Request, Moves: moves, Data: payload,
	}, missing)
}

func effective(outside, now time.Time) time.Time {
	if outside.IsZero() {
		return now
	}
	return outside.UTC()
}

// accept puts the event that a command came to into the next batch, unless documents are
// missing that it touches.
func (l *loop) accept(c *waiting, e events.Event, missing []ledger.Ref) []ledger.Ref {
	fail := func(err error) []ledger.Ref {
		l.next.add(c, result{err: err})
		return nil
	}
	if err := l.touch(e); err != nil {
		return fail(err)
	}
	for _, t := range l.touched {
		if t.entry == nil {
			missing = append(missing, t.ref)
		}
	}
	if len(missing) > 0 {
		return distinct(missing)
	}
	body, err := l.codec.Encode(e)
	if err != nil {
		return fail(err)
	}
	if err := l.apply(e); err != nil {
		return fail(err)
	}
	c.body = body
	l.lastTime = e.Time
	l.next.records = append(l.next.records, events.Record{Event: e, Body: body})
	l.next.bytes += len(body)
	l.next.add(c, result{event: e})
	return nil
}

// runDecision, like runLook, touch and apply, keeps a mistake in the code of one command,
// or of one fold, from stopping the ledger for all.
func (l *loop) runDecision(c *waiting, tx *ledger.Tx) (p events.Payload, moves []events.Move, err error) {
	defer l.recovered(&err, "a decision")
	return c.Decide(tx)
}

func (l *loop) runLook(c *waiting, tx *ledger.Tx) (err error) {
	defer l.recovered(&err, "a look")
	return c.look(tx)
}

// touch finds the documents that an event touches.
func (l *loop) touch(e events.Event) (err error) {
	defer l.recovered(&err, "a fold")
	l.touched = l.memory.touches(e, l.touched[:0])
	return nil
}

// apply folds an event, which is in no log yet, into the documents that it touches.
func (l *loop) apply(e events.Event) (err error) {
	mark := len(l.next.undo)
	defer func() {
		if err != nil {
			l.memory.takeBack(l.next.undo[mark:])
			l.next.undo = l.next.undo[:mark]
		}
	}()
	defer l.recovered(&err, "a fold")
	l.memory.apply(e, l.touched, &l.next.undo)
	return nil
}

// recovered turns a panic into an error. Defer it.
func (l *loop) recovered(err *error, what string) {
	if r := recover(); r != nil {
		l.logger.ErrorContext(context.Background(), what+" panicked", "panic", r, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s panicked: %v", what, r)
	}
}

// distinct leaves out what stands twice; lists are short.
func distinct(refs []ledger.Ref) []ledger.Ref {
	once := refs[:0]
	for _, ref := range refs {
		if !slices.Contains(once, ref) {
			once = append(once, ref)
		}
	}
	return once
}

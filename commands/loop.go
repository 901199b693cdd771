package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// A batch is commands that were decided together, and what they came to. Its events
// are appended as one, and none of its commands is answered before that: even a
// refusal may rest on what another command of it did.
type batch struct {
	commands []*waiting
	outcomes []outcome // of the commands, one each
	records  []events.Record
	undo     []before
}

func (b *batch) add(c *waiting, o outcome) {
	b.commands = append(b.commands, c)
	b.outcomes = append(b.outcomes, o)
}

// loop is the writer's one goroutine's: memory and batches are its own. At most one
// append is under way; the next batch is decided meanwhile.
type loop struct {
	*Writer
	ready    []*waiting // to be decided, in order
	next     *batch     // decided, not sent yet
	sent     *batch     // its append is under way; nil if none is
	appended chan error
	fetching map[ledger.Ref][]*waiting
	epoch    uint64 // counts the times that the log was read again; what was fetched before is void
	touched  []touch
}

const (
	// pauseAfterFailure keeps a log or a store that answers with errors from being
	// asked without end.
	pauseAfterFailure = 100 * time.Millisecond
	// stopMax bounds how long a stopping writer works on for those who still wait.
	stopMax = 10 * time.Second
	// readyMax is how many commands are taken from the queue before they are decided.
	readyMax = 2 * batchMax
)

// loop decides until ctx ends and all who waited by then are answered.
func (w *Writer) loop(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := &loop{Writer: w, next: &batch{}, appended: make(chan error, 1), fetching: map[ledger.Ref][]*waiting{}}
	for stop := ctx.Done(); ; {
		queue := w.queue
		if len(l.ready) >= readyMax {
			queue = nil
		}
		select {
		case c := <-queue:
			l.ready = append(l.ready, c)
		case f := <-w.loads:
			l.receive(work, f)
		case err := <-l.appended:
			if err := l.settleSent(work, err); err != nil {
				return err
			}
		case <-stop:
			stop = nil
			w.refuseMore()
			time.AfterFunc(stopMax, cancel)
		}
		l.drain()
		l.decideReady(work)
		l.send(work)
		if stop == nil && l.idle() {
			return nil
		}
	}
}

// refuseMore lets no new command in.
func (w *Writer) refuseMore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
}

// drain takes what waits in the queue, as far as there is room.
func (l *loop) drain() {
	for len(l.ready) < readyMax {
		select {
		case c := <-l.queue:
			l.ready = append(l.ready, c)
		default:
			return
		}
	}
}

func (l *loop) idle() bool {
	return len(l.ready) == 0 && len(l.queue) == 0 && len(l.next.commands) == 0 &&
		l.sent == nil && len(l.fetching) == 0
}

// decideReady decides what is ready into the next batch, and has the documents fetched
// that were missing, all in one go.
func (l *loop) decideReady(ctx context.Context) {
	var toFetch []ledger.Ref
	taken := 0
	for taken < len(l.ready) && len(l.next.records) < batchMax {
		c := l.ready[taken]
		taken++
		for _, ref := range l.decide(c) {
			if _, under := l.fetching[ref]; !under {
				toFetch = append(toFetch, ref)
			}
			l.fetching[ref] = append(l.fetching[ref], c)
			c.lacks++
		}
	}
	l.ready = append(l.ready[:0], l.ready[taken:]...)
	if len(toFetch) > 0 {
		l.fetch(ctx, toFetch)
	}
}

// decide runs one command's decision, and puts what it came to into the next batch. If
// it lacks documents, it returns them and changes nothing.
func (l *loop) decide(c *waiting) (missing []ledger.Ref) {
	now := l.now().UTC().Truncate(time.Millisecond)
	if now.Before(l.lastTime) {
		now = l.lastTime
	}
	tx := ledger.NewTx(now, l.memory)
	if c.look != nil {
		err := c.look(tx)
		if len(tx.Missing()) == 0 {
			l.next.add(c, outcome{err: err})
		}
		return distinct(tx.Missing())
	}
	used := ledger.Load(tx, ledger.Keys, c.Key)
	if len(tx.Missing()) > 0 {
		return tx.Missing()
	}
	if used.Position != 0 {
		l.next.add(c, outcome{replayOf: used.Position})
		return nil
	}
	payload, moves, err := decideSafely(c.Decide, tx)
	if len(tx.Missing()) > 0 {
		return distinct(tx.Missing())
	}
	if err != nil {
		l.next.add(c, outcome{err: err})
		return nil
	}
	e := events.Event{
		Position: l.nextPosition(), Key: c.Key, Time: now, Effective: c.Effective.UTC(), Actor: c.Actor,
		Cause: c.Cause, Request: c.Request, Moves: moves, Data: payload,
	}
	if c.Effective.IsZero() {
		e.Effective = now
	}
	l.touched = l.memory.touches(e, l.touched[:0])
	for _, t := range l.touched {
		if l.memory.docs[t.ref] == nil {
			missing = append(missing, t.ref)
		}
	}
	if len(missing) > 0 {
		return distinct(missing)
	}
	body, err := l.codec.Encode(e)
	if err != nil {
		l.next.add(c, outcome{err: err})
		return nil
	}
	l.memory.apply(e, l.touched, &l.next.undo)
	l.lastTime = now
	l.next.records = append(l.next.records, events.Record{Event: e, Body: body})
	l.next.add(c, outcome{event: e})
	return nil
}

// decideSafely keeps a mistake in one decision from stopping the ledger for all.
func decideSafely(decide ledger.Decision, tx *ledger.Tx) (p events.Payload, moves []events.Move, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a decision panicked: %v", r)
		}
	}()
	return decide(tx)
}

// nextPosition is where the next event decided will stand.
func (l *loop) nextPosition() uint64 {
	position := l.last.Load() + uint64(len(l.next.records)) + 1
	if l.sent != nil {
		position += uint64(len(l.sent.records))
	}
	return position
}

// send appends the next batch, unless one is under way already. A batch without events
// is settled at once.
func (l *loop) send(ctx context.Context) {
	if l.sent != nil || len(l.next.commands) == 0 {
		return
	}
	b := l.next
	l.next = &batch{}
	if len(b.records) == 0 {
		l.settleBatch(b)
		return
	}
	l.sent = b
	after := l.last.Load()
	go func() { l.appended <- l.log.Append(ctx, after, b.records) }()
}

// settleSent answers those whose events are in the log. If the append was beaten, it
// takes back what was decided on top of it, reads what the others wrote and has all of
// it decided again.
func (l *loop) settleSent(ctx context.Context, err error) error {
	b := l.sent
	l.sent = nil
	if err == nil {
		l.last.Store(b.records[len(b.records)-1].Position)
		l.settleBatch(b)
		l.memory.round++
		l.memory.shrink(l.limits.Documents, l.stored.Stored())
		return nil
	}
	l.memory.takeBack(l.next.undo)
	l.memory.takeBack(b.undo)
	l.ready = append(append(b.commands, l.next.commands...), l.ready...)
	l.next = &batch{}
	l.epoch++
	if !errors.Is(err, events.ErrBeaten) {
		l.logger.ErrorContext(ctx, "append failed, reading the log again", "events", len(b.records), "error", err)
	}
	before := l.last.Load()
	if err := l.CatchUp(ctx); err != nil {
		return fmt.Errorf("the outcome of %d events is unknown: %w", len(b.records), err)
	}
	if l.last.Load() == before {
		return pause(ctx, pauseAfterFailure) // nobody else wrote: the same append would fail in the same way
	}
	return nil
}

// settleBatch answers all commands of a batch.
func (l *loop) settleBatch(b *batch) {
	for i, c := range b.commands {
		l.settle(c, b.outcomes[i])
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// distinct leaves out what stands twice; lists are short.
func distinct(refs []ledger.Ref) []ledger.Ref {
	var once []ledger.Ref
	for _, ref := range refs {
		seen := false
		for _, o := range once {
			seen = seen || o == ref
		}
		if !seen {
			once = append(once, ref)
		}
	}
	return once
}

package writer

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
	commands []*waiting // with what they came to
	records  []events.Record
	bytes    int // of the records' bodies
	undo     []before
}

// following is an empty batch with room for as much as the one before it has.
func (b *batch) following() *batch {
	return &batch{
		commands: make([]*waiting, 0, len(b.commands)), records: make([]events.Record, 0, len(b.records)),
		undo: make([]before, 0, len(b.undo)),
	}
}

func (b *batch) add(c *waiting, r result) {
	c.result = r
	b.commands = append(b.commands, c)
}

func (b *batch) full() bool { return len(b.records) >= events.BatchMax || b.bytes >= batchBytesMax }

// A loop is what the writer's one goroutine works with. At most one append is under way, in a
// goroutine of its own, and the next batch is decided meanwhile. For a lone caller there is nothing
// to decide meanwhile: the loop then appends by itself, which spares them two hand-overs.
//
// When it waits, either nothing is ready, or something is bound to wake it: the end of
// an append, or of its patience.
type loop struct {
	*Writer
	ready    []*waiting // to be decided, in order
	next     *batch     // decided, not sent yet
	sent     *batch     // its append is under way; nil if none is
	sentAt   time.Time
	alone    bool // nobody else had come when an append ended last
	appended chan error
	company  int                       // commands that make a good batch; 0 if nobody knows
	patience <-chan time.Time          // for so long they are waited for; nil: no more
	fetching map[ledger.Ref][]*waiting // who waits for a document
	wanted   []ledger.Ref              // of those, what no fetch has been started for yet
	fetches  int                       // under way
	seen     uint64                    // the last position of any document that was fetched
	epoch    uint64                    // how often the log was read again; what was fetched before is void
	touched  []touch
}

const (
	// pauseAfterFailure keeps a log or a store that answers with errors from being
	// asked without end.
	pauseAfterFailure = 100 * time.Millisecond
	// stopMax bounds how long a stopping writer works on for those who still wait.
	stopMax = 10 * time.Second
	// readyMax is how many commands are taken from the queue before they are decided.
	readyMax = 2 * events.BatchMax
	// decideMax is how many commands are decided at a time, before the loop looks around.
	decideMax = 64
	// patiencePart of an append's time, and patienceMax, bound what a batch waits.
	patiencePart = 4
	patienceMax  = 10 * time.Millisecond
	// batchBytesMax closes a batch; its last event may take it beyond.
	batchBytesMax = events.BatchBytesMax / 2
)

// loop decides until ctx ends and all who waited by then are answered, or until term ends.
func (w *Writer) loop(ctx, term context.Context) error {
	work, cancel := context.WithCancel(term)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		w.refuseMore() // at once, also while the loop waits for an append
		time.AfterFunc(w.work, cancel)
	})()
	l := &loop{Writer: w, next: &batch{}, appended: make(chan error, 1), fetching: map[ledger.Ref][]*waiting{}}
	l.beginFilter(work)
	always := make(chan struct{})
	close(always)
	for stop := ctx.Done(); ; {
		var more chan struct{}
		if len(l.ready) > 0 && !l.next.full() {
			more = always
		}
		arrived := w.arrived
		if len(l.ready) >= readyMax {
			arrived = nil
		}
		select {
		case <-more:
		case <-arrived:
		case <-w.rereads.bell:
		case f := <-w.fetched:
			l.receive(work, f)
		case f := <-w.filled:
			l.takeFilter(f)
		case err := <-l.appended:
			if err := l.settleSent(work, err); err != nil {
				return err
			}
		case <-l.patience:
			l.patience = nil
		case <-stop:
			stop = nil
			w.refuseMore()
		case <-work.Done():
			return fmt.Errorf("stopped with %d commands under way", w.UnderWay())
		}
		if err := l.advance(work); err != nil {
			return err
		}
		if stop == nil && l.idle() {
			return nil
		}
	}
}

// advance does what can be done at once.
func (l *loop) advance(ctx context.Context) error {
	if l.sent == nil && max(l.seen, l.stored.Stored()) > l.last.Load() {
		// Somebody else has written. Not even a refusal may rest on what is known here.
		if err := l.readAgain(ctx); err != nil {
			return err
		}
	}
	if l.sent == nil && l.rereads.open.Load() {
		if err := l.reread(ctx); err != nil {
			return err
		}
	}
	l.ready = l.take(l.ready, max(0, readyMax-len(l.ready)))
	l.decideSome()
	l.send(ctx)
	l.fetchWanted(ctx)
	return nil
}

func (l *loop) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ready) == 0 && len(l.inbox) == 0 && len(l.next.commands) == 0 &&
		l.sent == nil && len(l.fetching) == 0
}

// nextPosition is where the next event decided will stand.
func (l *loop) nextPosition() uint64 {
	position := l.last.Load() + uint64(len(l.next.records)) + 1
	if l.sent != nil {
		position += uint64(len(l.sent.records))
	}
	return position
}

// send appends the next batch, unless one is under way already, or more will be in it in a
// moment. A batch without events is settled at once, or where others may write, when the
// log is known to end where it was decided: a refusal must not rest on what is past.
func (l *loop) send(ctx context.Context) {
	if l.sent != nil || len(l.next.commands) == 0 || l.rereads.open.Load() { // then it is decided again
		return
	}
	enough := l.next.full() || l.company > 0 && len(l.next.commands) >= l.company
	if !enough && (len(l.ready) > 0 || l.patience != nil) {
		return
	}
	l.company, l.patience = 0, nil
	b := l.next
	l.next = b.following()
	if _, shared := l.log.(Confirmer); len(b.records) == 0 && !shared {
		l.settleBatch(ctx, b)
		return
	}
	l.sent, l.sentAt = b, time.Now()
	after := l.last.Load()
	if l.alone && l.UnderWay() == 1 {
		l.appended <- l.appendOrConfirm(ctx, after, b)
		return
	}
	go func() { l.appended <- l.appendOrConfirm(ctx, after, b) }()
}

// appendOrConfirm appends a batch, or confirms one that has no events.
func (l *loop) appendOrConfirm(ctx context.Context, after uint64, b *batch) error {
	if len(b.records) == 0 {
		return l.log.(Confirmer).Confirm(ctx, after)
	}
	return l.log.Append(ctx, after, b.records)
}

// stage has the log take in what there is of a large next batch.
func (l *loop) stage() {
	if n := len(l.next.records); n >= decideMax {
		l.log.Stage(l.nextPosition()-uint64(n)-1, l.next.records)
	}
}

// expect has the next batch wait a little for those who are just being answered: many of
// them ask again at once. Few make one batch, since an append's fixed cost is worth
// sharing. Many make two of nearly one size that take turns, where the log likes that better.
// So that a batch is in time, it waits for a part of what its append takes.
func (l *loop) expect(b *batch) {
	from, turns := l.log.Batching()
	if len(b.records) < from {
		return
	}
	l.company = len(b.commands) + len(l.next.commands)
	if turns > 0 && l.company > turns {
		l.company = l.company * 7 / 16 // the half that is full first does not wait for the last ones
	}
	l.patience = time.After(min(time.Since(l.sentAt)/patiencePart, patienceMax))
}

// settleSent answers those whose events are in the log. If the append was beaten, what
// was decided is decided again. If nobody knows, the same is tried again at the same
// place, which alone can tell: it may still get there. A log that takes nothing any more, or
// has lost its end, ends the writer.
func (l *loop) settleSent(ctx context.Context, err error) error {
	b := l.sent
	switch {
	case err == nil:
		l.sent = nil
		if n := len(b.records); n > 0 {
			l.last.Store(b.records[n-1].Position)
		}
		l.alone = l.UnderWay() == 1
		l.expect(b)
		l.send(ctx) // before those of the last one are answered: the log is not to wait
		l.settleBatch(ctx, b)
		return nil
	case errors.Is(err, events.ErrBeaten):
		return l.readAgain(ctx)
	case ctx.Err() != nil, errors.Is(err, events.ErrBroken), errors.Is(err, events.ErrShort):
		return fmt.Errorf("the outcome of %d events is unknown: %w", len(b.records), err)
	}
	l.logger.ErrorContext(ctx, "append failed, trying the same again", "events", len(b.records), "error", err)
	after := l.last.Load()
	go func() {
		if err := pause(ctx, l.pause); err != nil {
			l.appended <- err
			return
		}
		l.appended <- l.appendOrConfirm(ctx, after, b)
	}()
	return nil
}

// takeBack takes back what was decided and is not in the log, and has it decided again.
func (l *loop) takeBack() {
	var again []*waiting
	l.memory.takeBack(l.next.undo)
	if l.sent != nil {
		l.memory.takeBack(l.sent.undo)
		again = l.sent.commands
	}
	l.ready = append(append(again, l.next.commands...), l.ready...)
	l.sent, l.next = nil, &batch{}
	l.epoch++
}

// readAgain takes back what was decided and is not in the log, and reads what others wrote.
func (l *loop) readAgain(ctx context.Context) error {
	l.takeBack()
	before := l.last.Load()
	if err := l.catchUp(ctx); err != nil {
		return fmt.Errorf("read what others have written: %w", err)
	}
	if l.last.Load() == before {
		return pause(ctx, l.pause) // nothing is to be seen of the others yet
	}
	return nil
}

// settleBatch answers all commands of a batch.
func (l *loop) settleBatch(ctx context.Context, b *batch) {
	l.settle(b.commands...)
	l.memory.round++
	l.memory.shrink(l.limits.Documents, l.stored.Stored(), l.fetching)
	l.beginFilter(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

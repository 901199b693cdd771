// Package writer decides all commands in one goroutine, one after the other, by the rules in ledger,
// and appends their events to the log. Under one key one event happens, once for ever. Nobody is
// answered before what they were decided on, and the event that it came to, is in the log for good.
package writer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// A Command asks for one event.
type Command struct {
	Key       string       // happens once, for ever
	Actor     events.Actor // who asks
	Cause     uint64       // position of the event that led to it; 0 if none
	Effective time.Time    // when it happened outside; zero: now
	Request   []byte       // HMAC of what was asked; nil if any request may come under this key again
	Older     []byte       // Request as an earlier program hashed it; nil: the same
	Joins     bool         // waits for the same key that is under way, instead of being refused
	Decide    ledger.Decision
}

// asksAs tells whether an event was asked for by the same request, as far as requests count.
func (c Command) asksAs(first []byte) bool {
	return c.Request == nil || first == nil || bytes.Equal(c.Request, first) || bytes.Equal(c.Older, first)
}

// Done is what a command came to: its event, which is in the log for good.
type Done struct {
	Event    events.Event
	Replayed bool // it had happened before, under the same key
}

// Log is where events go. See events/jetstream for the contracts.
type Log interface {
	// Append returns when ctx ends, too: a lone caller's holds the writer's loop.
	Append(ctx context.Context, after uint64, records []events.Record) error
	// Stage may send ahead what an append will begin with. It does not wait for that; the
	// records are not to be changed.
	Stage(after uint64, records []events.Record)
	// Batching is from how many events on an append has a cost that is worth sharing, and above
	// how many two appends that take turns are faster than one; 0: they never are.
	Batching() (from, turns int)
	Read(ctx context.Context, position uint64) (events.Record, error)
	ReadRange(ctx context.Context, after uint64, max int) ([]events.Record, error)
}

// A Confirmer is a Log that others may write to as well.
type Confirmer interface {
	// Confirm fails with events.ErrBeaten when the log goes on behind a position. Without
	// an error, it ended there at some moment since it was called.
	Confirm(ctx context.Context, position uint64) error
}

// Documents are the writer's documents as the projector has stored them.
type Documents interface {
	// Stored is the position up to which all of them are durably stored.
	Stored() uint64
	// Fetch finds documents of a fold; those that do not exist are left out.
	Fetch(ctx context.Context, fold string, keys []string) (map[string]StoredDocument, error)
	// Keys are the keys of a fold's documents after one, in their order, max at most.
	Keys(ctx context.Context, fold, after string, max int) ([]string, error)
}

// A StoredDocument is a document and the position of the last event folded into it.
type StoredDocument struct {
	Position uint64
	Body     []byte
}

// Limits keep the writer's memory and its answers' time bounded.
type Limits struct {
	Queue     int    // commands under way; more are told to come again
	Lag       uint64 // events that the stored documents may be behind; beyond it likewise
	Far       uint64 // events behind which apps are held back when that lasts; 0: they are not
	Documents int    // documents kept in memory beyond those that must be
}

// DefaultLimits suit one process with some hundred megabytes to spare: a document
// takes about a kilobyte, and an event touches four.
var DefaultLimits = Limits{Queue: 8192, Lag: 100_000, Far: 10_000, Documents: 100_000}

// Why the writer sends a caller away.
var (
	ErrOverloaded = ledger.Refuse("overloaded",
		"The server has more to do than it can keep up with. Try again in a moment.")
	ErrStopping  = ledger.Refuse("stopping", "The server is stopping. Try again in a moment.")
	ErrKeyReused = ledger.Refuse("key_reused", "This idempotency key was used for another request.")
	ErrKeyBusy   = ledger.Refuse("key_busy", "A request with this idempotency key is under way.")
)

// errUnanswered is ErrStopping for those who were let in before.
var errUnanswered = ledger.Refuse("stopping", "The server has stopped before it could answer. What was asked may be "+
	"done all the same: the same request with the same Idempotency-Key tells.")

// A Writer decides commands one after the other and appends what they come to, many at
// a time. There is one for a log; a second one finds its appends beaten, reads what it
// has missed and decides again.
type Writer struct {
	log    Log
	stored Documents
	codec  *events.Codec
	now    func() time.Time
	logger *slog.Logger
	limits Limits
	pause  time.Duration // pauseAfterFailure, but for tests
	work   time.Duration // stopMax, likewise

	arrived chan struct{} // has room for one: the inbox is not empty
	fetched chan fetched
	filled  chan *keyFilter
	rereads rereads
	stopped chan struct{} // closed when Run has ended
	last    atomic.Uint64 // the last position that is in the log for certain
	looks   atomic.Uint64
	deposed atomic.Bool // Run ended, and its term with ErrDeposed
	behind  atomic.Bool // the stored documents are too far behind the log to catch up with
	warm    atomic.Bool // see Warm

	mu       sync.Mutex
	underWay map[string]*waiting
	inbox    []*waiting // of those, what the loop has not taken yet
	brake    brake
	stopping bool

	// Run's own:
	memory   *memory
	started  bool      // what the stored documents lacked at the start is in memory
	lastTime time.Time // of the last event decided or read
}

// waiting is a command on its way, and where its caller waits.
type waiting struct {
	Command
	look   func(*ledger.Tx) error // instead of Decide: it only wants to know
	asked  int                    // how often it lacked documents
	lacks  int                    // documents that are still being fetched for it
	failed bool                   // one of them could not be read
	pinned []*entry               // documents that stay in memory until it is decided
	body   []byte                 // of the event that it came to, as it was decided last
	done   chan struct{}          // closed when result is final
	result result

	mu   sync.Mutex // held while it is decided
	gone bool       // its caller has left
}

// A result is what a command came to: an event, an older event under the same key, or
// an error.
type result struct {
	event    events.Event
	replayOf uint64
	err      error
}

// New makes a writer. It decides nothing until Run.
func New(log Log, stored Documents, codec *events.Codec, now func() time.Time,
	limits Limits, logger *slog.Logger) *Writer {
	return &Writer{
		log: log, stored: stored, codec: codec, now: now, limits: limits, logger: logger,
		pause: pauseAfterFailure, work: stopMax,
		arrived:  make(chan struct{}, 1),
		fetched:  make(chan fetched),
		filled:   make(chan *keyFilter),
		rereads:  rereads{bell: make(chan struct{}, 1)},
		stopped:  make(chan struct{}),
		underWay: map[string]*waiting{},
		memory:   newMemory(ledger.Folds()),
	}
}

// Do has a command decided and waits until what it came to is in the log. It returns a
// *ledger.Refusal when the rules, or the writer's own limits, say no. When ctx ends
// first, the command may still happen: ask again with the same key. One that was not
// decided by then is let go of, so ctx bounds the time in the queue too.
func (w *Writer) Do(ctx context.Context, c Command) (Done, error) {
	for {
		mine, other, err := w.enqueue(&waiting{Command: c})
		if err != nil {
			return Done{}, err
		}
		if other == nil {
			if err := mine.wait(ctx); err != nil {
				mine.leave()
				return Done{}, err
			}
			return w.answer(ctx, c, mine, false)
		}
		if err := other.wait(ctx); err != nil {
			return Done{}, err
		}
		if other.result.err == nil {
			return w.answer(ctx, c, other, true)
		}
	}
}

// Look shows the writer's documents as they are between two commands, all of which are
// in the log when it returns. It may run look more than once; the last run counts. Once
// it has returned, look is not run any more.
func (w *Writer) Look(ctx context.Context, look func(*ledger.Tx) error) error {
	key := "look/" + strconv.FormatUint(w.looks.Add(1), 10)
	mine, _, err := w.enqueue(&waiting{Command: Command{Key: key}, look: look})
	if err != nil {
		return err
	}
	if err := mine.wait(ctx); err != nil {
		mine.leave()
		return err
	}
	return mine.result.err
}

// answer is what a caller gets of what their command came to, or another one with the
// same key that was under way.
func (w *Writer) answer(ctx context.Context, c Command, decided *waiting, another bool) (Done, error) {
	result := decided.result
	if result.err != nil {
		return Done{}, result.err
	}
	if result.replayOf == 0 && !another {
		return Done{Event: result.event}, nil
	}
	first := events.Record{Event: result.event, Body: decided.body}
	if result.replayOf != 0 {
		var err error
		if first, err = w.log.Read(ctx, result.replayOf); err != nil {
			return Done{}, fmt.Errorf("read the first event of key %q: %w", c.Key, ledger.Unavailable(ctx, err))
		}
	}
	// A command whose append got lost on the way back finds its own event in the log.
	if !another && bytes.Equal(first.Body, decided.body) {
		return Done{Event: first.Event}, nil
	}
	if !c.asksAs(first.Request) {
		return Done{}, ErrKeyReused
	}
	return Done{Event: first.Event, Replayed: true}, nil
}

// leave lets go of a command that nobody waits for. If it is being decided at this very
// moment, that ends first, so nothing that the caller has lent is used after it.
func (c *waiting) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}

// wait returns when the command is decided for good, or the writer has stopped.
func (c *waiting) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enqueue puts a command into the queue, or tells which one with its key to wait for.
func (w *Writer) enqueue(c *waiting) (mine, other *waiting, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		return nil, nil, ErrStopping
	}
	if other := w.underWay[c.Key]; other != nil {
		if c.Joins {
			return nil, other, nil
		}
		return nil, nil, ErrKeyBusy
	}
	if err := w.admit(1, c.Actor.Kind); err != nil {
		return nil, nil, err
	}
	w.push(c)
	return c, nil, nil
}

// push has a command wait in the queue. Hold mu.
func (w *Writer) push(c *waiting) {
	c.done = make(chan struct{})
	w.underWay[c.Key] = c
	w.inbox = append(w.inbox, c)
	if len(w.inbox) == 1 {
		select {
		case w.arrived <- struct{}{}:
		default: // the loop has not looked since it was told last
		}
	}
}

// take moves commands from the inbox behind those that are ready, max at most.
func (w *Writer) take(ready []*waiting, max int) []*waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	some := w.inbox[:min(len(w.inbox), max)]
	ready = append(ready, some...)
	rest := copy(w.inbox, w.inbox[len(some):])
	clear(w.inbox[rest:])
	w.inbox = w.inbox[:rest]
	return ready
}

// settle ends the wait for commands, whose results are final.
func (w *Writer) settle(commands ...*waiting) {
	w.mu.Lock()
	for _, c := range commands {
		delete(w.underWay, c.Key)
	}
	w.mu.Unlock()
	for _, c := range commands {
		c.unpin()
		close(c.done)
	}
}

// Last is the last position that is in the log for certain.
func (w *Writer) Last() uint64 { return w.last.Load() }

// Warm is true once the writer knows of nearly every new key by itself that it was never
// used. Until then, after a start, each command waits for the store to say so.
func (w *Writer) Warm() bool { return w.warm.Load() }

// UnderWay is how many commands wait for their outcome.
func (w *Writer) UnderWay() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.underWay)
}

// Run reads what the stored documents lack, then decides commands until ctx ends and
// those who wait by then are answered. When term ends, it stops at once and answers nobody,
// also while it answers the last. ctx ends with term. An error says why it cannot go on, or
// that some were not answered. Run it once. Commands that come before it wait for it.
func (w *Writer) Run(ctx, term context.Context) error {
	defer w.SendAway()
	defer func() { w.deposed.Store(errors.Is(context.Cause(term), ErrDeposed)) }()
	err := w.catchUp(ctx)
	if err != nil && ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	return w.loop(ctx, term)
}

// SendAway ends the wait of all who are left, with ErrStopping, and lets nobody in any more. Run does so
// at its end; call it only for a writer that will never run.
func (w *Writer) SendAway() {
	close(w.stopped)
	w.refuseMore()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.underWay {
		c.result = result{err: errUnanswered}
		close(c.done)
	}
	clear(w.underWay)
	w.inbox = nil
}

// refuseMore lets no new command in.
func (w *Writer) refuseMore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
}

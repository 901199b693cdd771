package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"truebond/events"
)

// Log is where events are read from.
type Log interface {
	// Last is the position of the last event; 0 if there is none.
	Last(ctx context.Context) (uint64, error)
	// Known is as much of that as is known without asking.
	Known() uint64
	// Follow reads what comes after a position, in order, and waits for more until ctx
	// ends or yield fails. It yields what is at hand, at most max at once. What passes,
	// such as a lost connection, it bears by itself: any other error is there to stay,
	// above all events.ErrGap.
	Follow(ctx context.Context, after uint64, max int, yield func([]events.Record) error) error
}

// A Projector folds the log into views and stores them. One is enough for a store; a
// second one does no harm, as each notices what the other has written.
type Projector struct {
	store  Store
	log    Log
	views  []View
	logger *slog.Logger
	limits limits

	reach   reach
	halts   chan halt
	stopped chan struct{} // closed when Run has ended

	mu      sync.Mutex
	claimed map[string]bool // views that Rebuild or Compare is busy with
}

// limits bound memory and how long a failed store is left alone.
type limits struct {
	batchEvents int // folded and written at once
	recentDocs  int // kept in memory, all tables together
	pauseFirst  time.Duration
	pauseMax    time.Duration
	dropMax     time.Duration // what Rebuild and Compare may take to clear away after their caller has gone
}

// defaultLimits: larger batches gain little, and take memory and a long transaction. A
// document takes about a kilobyte.
var defaultLimits = limits{
	batchEvents: 4000, recentDocs: 100_000,
	pauseFirst: 50 * time.Millisecond, pauseMax: 10 * time.Second, dropMax: 10 * time.Second,
}

// An Option changes a limit of the projector. The program takes the limits as they are; tests do not.
type Option func(*Projector)

// BatchEvents is how many events are folded and written at once, at most.
func BatchEvents(n int) Option { return func(p *Projector) { p.limits.batchEvents = n } }

// RecentDocuments is how many documents are remembered, so that they need not be loaded.
func RecentDocuments(n int) Option { return func(p *Projector) { p.limits.recentDocs = n } }

// Pauses are how long a store or a log that failed is left alone: at first, and at most.
func Pauses(first, most time.Duration) Option {
	return func(p *Projector) { p.limits.pauseFirst, p.limits.pauseMax = first, most }
}

// NewProjector makes a projector of these views. It does nothing before Prepare and Run.
func NewProjector(store Store, log Log, views []View, logger *slog.Logger, options ...Option) *Projector {
	p := &Projector{
		store: store, log: log, views: views, logger: logger, limits: defaultLimits,
		halts: make(chan halt), stopped: make(chan struct{}), claimed: map[string]bool{},
		reach: newReach(),
	}
	for _, option := range options {
		option(p)
	}
	return p
}

// Why the projector cannot go on.
var (
	// ErrBroken says that what is stored does not go with this program or with the log.
	// It stays so until someone does something about it.
	ErrBroken = errors.New("the stored views are broken")
	// ErrUnreadable says that the log cannot be read any further, and why.
	ErrUnreadable = errors.New("the log cannot be read")
	// ErrStopped says that the projector's Run has ended.
	ErrStopped = errors.New("the projector has stopped")
)

// errReload says that which tables are live has changed, and has to be read again.
var errReload = errors.New("the live tables have changed")

// Prepare makes the tables that the views need, and drops those that nobody needs any
// more: builds of other versions that were never finished, and rebuilds that were cut
// off. (A build for a new version goes on where it was.) On an empty store all tables
// are live at once.
//
// It fails on views that cannot be stored, and on a store that does not answer.
func (p *Projector) Prepare(ctx context.Context) error {
	if err := checkViews(p.views); err != nil {
		return err
	}
	tables, err := p.store.Tables(ctx)
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	s := survey(p.views, tables)
	for _, name := range s.leftover {
		p.logger.Info("drop a table that was never finished", "table", name)
		if err := p.store.Drop(ctx, name); err != nil {
			return fmt.Errorf("drop table %s: %w", name, err)
		}
	}
	for _, t := range s.needed {
		// Those that exist get the indexes that they lack.
		if err := p.store.Create(ctx, t); err != nil {
			return fmt.Errorf("create table %s: %w", t.Name, err)
		}
	}
	if tables, err = p.store.Tables(ctx); err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	s = survey(p.views, tables)
	for _, t := range s.behind {
		if t.Live || t.Position != s.front {
			continue
		}
		if err := p.store.GoLive(ctx, t.Name); err != nil {
			return fmt.Errorf("read view %s from table %s: %w", t.View, t.Name, err)
		}
	}
	_, _, err = p.load(ctx)
	return err
}

// Run folds the log into the views until ctx ends, and then returns nil. A store or a
// log that does not answer is asked again and again, with growing pauses. An error says
// what waiting does not mend: ErrBroken, ErrUnreadable, or events.ErrGap. Call Prepare
// before, and Run once.
func (p *Projector) Run(ctx context.Context) error {
	defer close(p.stopped)
	err := p.insist(ctx, "fold the log into the views", p.serve)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Commands go first: nobody is answered sooner because a view is, unless they wait for it.
// When much comes at once, views are left alone for a while and then catch up; so they are
// hardly more than that behind, as long as they are able to follow at all.
const (
	gatherBelow = 100                   // events at once are few; a transaction costs as much as folding them
	gatherMax   = 50 * time.Millisecond // for so long the next few are gathered
	restMax     = time.Second           // for so long many are
	nearMax     = 5_000                 // events behind the log: views that are further behind do not rest
)

// serve folds the log into the live tables until something fails or the tables change.
// Tables that are behind are built meanwhile. It tells whether it got anywhere.
func (p *Projector) serve(ctx context.Context) (moved bool, err error) {
	front, behind, err := p.load(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var builder sync.WaitGroup
	began := front.position + positions(behind)
	defer func() {
		cancel()
		builder.Wait()
		moved = front.position+positions(behind) > began
	}()

	built := make(chan error, 1)
	if len(behind) > 0 {
		builder.Go(func() { built <- p.catchUp(ctx, behind, nil) })
	}
	feed := p.follow(ctx, front.position)
	defer feed.stop()
	p.reach.serve(true)
	defer p.reach.serve(false)
	for goal := uint64(0); ; { // the views do not rest before they are there
		select {
		case records := <-feed.batches:
			few := len(records) < gatherBelow
			if !few && front.position >= goal {
				if p.log.Known() <= front.position+nearMax {
					p.reach.rest(ctx, restMax)
				}
				goal = p.log.Known()
			}
			err = p.fold(ctx, front, records)
			p.reach.advance(front.position, front.written)
			if few && err == nil {
				p.reach.rest(ctx, gatherMax)
			}
		case err = <-feed.ended:
		case err = <-built:
		case wish := <-p.halts:
			var reload bool
			reload, err = wish.do(ctx, front)
			if reload {
				p.reach.serve(false) // before it is told: caches know from then on that other tables are live
			}
			wish.done <- err
			if err == nil && reload {
				err = errReload
			}
		}
		if err != nil {
			return moved, err
		}
	}
}

// load reads where the tables are: those that are folded on together, and those that
// have to catch up with them.
func (p *Projector) load(ctx context.Context) (front *group, behind []*build, err error) {
	last, err := p.log.Last(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read the log's last position: %w", err)
	}
	tables, err := p.store.Tables(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list the tables: %w", err)
	}
	s := survey(p.views, tables)
	if s.lacking != "" {
		return nil, nil, fmt.Errorf("%w: view %s has no table of its version; it was dropped, "+
			"or a program of another version has taken over", ErrBroken, s.lacking)
	}
	if s.front > last {
		// The log is read before the tables, so another projector may be the reason.
		if last, err = p.log.Last(ctx); err != nil {
			return nil, nil, fmt.Errorf("read the log's last position: %w", err)
		}
		if s.front > last {
			return nil, nil, fmt.Errorf("%w: they are at position %d and the log ends at %d",
				ErrBroken, s.front, last)
		}
	}
	front = &group{position: s.front}
	for _, t := range s.serving {
		front.builds = append(front.builds, p.newBuild(t))
	}
	for _, t := range s.behind {
		behind = append(behind, p.newBuild(t))
	}
	p.reach.load(s)
	return front, behind, nil
}

// insist tries again and again, with growing pauses, until try succeeds, ctx ends, or
// trying again would not help. try tells whether it got anywhere before it failed.
func (p *Projector) insist(
	ctx context.Context, what string, try func(context.Context) (moved bool, err error),
) error {
	pause := p.limits.pauseFirst
	for {
		moved, err := try(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil, errors.Is(err, ErrBroken), errors.Is(err, ErrUnreadable), errors.Is(err, events.ErrGap):
			return err
		}
		if moved || errors.Is(err, errReload) {
			pause = p.limits.pauseFirst
		}
		if errors.Is(err, errReload) {
			continue
		}
		level := slog.LevelWarn
		if errors.Is(err, ErrMoved) || errors.Is(err, ErrNoTable) {
			level = slog.LevelDebug // another projector is at work
		}
		p.logger.Log(ctx, level, "cannot "+what+"; trying again", "pause", pause, "error", err)
		if err := rest(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, p.limits.pauseMax)
	}
}

// rest pauses, or fails with the cause for which ctx ends before.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Positions are the positions of all tables and the SHA-256 of the event's body that
// each has stored for it, so that a log can be checked to be the one they were made
// from. Tables at 0 are left out.
func (p *Projector) Positions(ctx context.Context) (map[uint64][]byte, error) {
	tables, err := p.store.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	hashes := map[uint64][]byte{}
	for _, t := range tables {
		if t.Position == 0 {
			continue
		}
		if known, ok := hashes[t.Position]; ok && string(known) != string(t.Hash) {
			return nil, fmt.Errorf("%w: table %s was made from another event %d than others are",
				ErrBroken, t.Name, t.Position)
		}
		hashes[t.Position] = t.Hash
	}
	return hashes, nil
}

package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"truebond/events"
)

// A Comparison is what came of holding a view against one that was built anew.
type Comparison struct {
	View        string
	Position    uint64       // all that follows from the log up to here was compared
	Documents   uint64       // that were compared
	Drift       uint64       // documents that are not what follows from the log
	Differences []Difference // of those, the first differencesMax
}

// A Difference is a document that is not what follows from the log. What stands in it is
// not told, since it may be personal.
type Difference struct {
	ID     string
	What   string // Differs, Lost or Extra
	Stored uint64 // the position of the stored document; 0 if there is none
	Built  uint64 // the position of the one that follows from the log; 0 if there is none
}

// What may be wrong with a stored document.
const (
	Differs = "differs"
	Lost    = "lost"  // it follows from the log, and is not stored
	Extra   = "extra" // it is stored, and does not follow from the log
)

const (
	differencesMax  = 100    // told of a view; more of them say no more
	comparePage     = 500    // documents of each table at hand at once
	changedMax      = 10_000 // ids put aside for a second look before it is taken
	compareFailures = 10     // in a row, before a comparison is given up: after half a minute
)

// ErrUnsteady says that a table changes although this projector does not fold: another
// one is at work.
var ErrUnsteady = errors.New("the views do not stand still; another projector is at work")

// Compare builds a view again from the first event, in a table beside the live one and by
// the same steps, holds each document of the live table against it, and drops it. Run
// must be going on, and goes on serving; it stands still for moments only.
//
// A document whose position the new table has passed has not changed since: it must be
// the same in both. One that has changed meanwhile is looked at again when the new table
// has come up to it, and one that always changes while Run stands still.
//
// It takes memory for a batch and a page, and rests between them for longer than they
// take. progress, if any, is told how many events of how many are folded anew.
func (p *Projector) Compare(
	ctx context.Context, view string, progress func(done, total uint64),
) (Comparison, error) {
	views, err := p.claim([]string{view})
	if err != nil {
		return Comparison{}, err
	}
	defer p.release(views)
	ctx, cancel := p.whileRunning(ctx)
	defer cancel()
	tables, err := p.createBeside(ctx, views)
	defer p.dropUnfinished(ctx, tables)
	if err == nil {
		c := &comparing{Projector: p, view: views[0], table: tables[0], progress: progress,
			result: Comparison{View: view}}
		if err = c.insist(ctx); err == nil {
			return c.result, nil
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return Comparison{}, fmt.Errorf("compare view %s: %w", view, err)
}

// comparing is a comparison under way.
type comparing struct {
	*Projector
	view     View
	table    string // built anew
	live     string
	anew     *group // of the table
	progress func(done, total uint64)

	cursor  *Cursor  // documents up to here were looked at
	scanned bool     // all were
	changed []string // of those, the ones to look at again
	result  Comparison
}

// insist tries again, where it was, after a store that failed; not for ever, since a
// stored document may be what makes it fail.
func (c *comparing) insist(ctx context.Context) error {
	pause := c.limits.pauseFirst
	for failures := 0; ; {
		moved, err := c.try(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, events.ErrGap) || errors.Is(err, ErrUnreadable) {
			return err // no other try would read what is not there
		}
		if moved {
			failures, pause = 0, c.limits.pauseFirst
		}
		if failures++; failures >= compareFailures {
			return err
		}
		c.logger.WarnContext(ctx, "cannot compare a view; trying again", "view", c.view.Name, "pause", pause, "error", err)
		if err := rest(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, c.limits.pauseMax)
	}
}

// try goes on with the comparison until it is done or something fails.
func (c *comparing) try(ctx context.Context) (moved bool, err error) {
	if err := c.load(ctx); err != nil {
		return false, err
	}
	began, looked := c.anew.position, c.result.Documents
	defer func() { moved = c.anew.position > began || c.result.Documents > looked }()
	if err := c.comeUp(ctx); err != nil {
		return false, err
	}
	if c.result.Position == 0 { // what is lost is missed only if it was built
		if err := c.standing(ctx, func(context.Context) error { return nil }); err != nil {
			return false, err
		}
		c.result.Position = c.anew.position
	}
	for !c.scanned {
		begun := time.Now()
		if err := c.scan(ctx); err != nil {
			return false, err
		}
		if len(c.changed) >= changedMax {
			if err := c.lookAgain(ctx); err != nil {
				return false, err
			}
		}
		if err := restAfter(ctx, begun); err != nil {
			return false, err
		}
	}
	return false, c.lookAgain(ctx)
}

// load finds the two tables as they are stored.
func (c *comparing) load(ctx context.Context) error {
	tables, err := c.store.Tables(ctx)
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	c.live, c.anew = "", nil
	for _, t := range tables {
		switch {
		case t.Name == c.table:
			c.anew = &group{position: t.Position, builds: []*build{c.newBuild(viewTable{c.view, t})}}
		case t.View == c.view.Name && t.Live && t.Version == c.view.Version:
			c.live = t.Name
		}
	}
	if c.live == "" || c.anew == nil {
		return fmt.Errorf("%w: a table of view %s was dropped while it was compared", ErrNoTable, c.view.Name)
	}
	return nil
}

// comeUp folds the log into the new table until it is nearly where the live one is.
func (c *comparing) comeUp(ctx context.Context) error {
	near := func() bool { return c.anew.position+uint64(c.limits.batchEvents) >= c.reach.frontPosition() }
	if near() {
		return nil
	}
	return c.each(ctx, c.anew.position, func(records []events.Record) error {
		begun := time.Now()
		if err := c.fold(ctx, c.anew, records); err != nil {
			return err
		}
		if err := c.tell(ctx, c.anew, c.progress); err != nil {
			return err
		}
		if near() {
			return errEnough
		}
		return restAfter(ctx, begun)
	})
}

// scan looks at the next documents of both tables, by their ids.
func (c *comparing) scan(ctx context.Context) error {
	q := Query{Limit: comparePage, After: c.cursor}
	stored, err := c.store.Find(ctx, c.live, q)
	if err != nil {
		return err
	}
	built, err := c.store.Find(ctx, c.table, q)
	if err != nil {
		return err
	}
	ids, last := pageIDs(stored, built)
	changed := c.judge(ids, stored, built, false)
	c.changed = append(c.changed, changed...)
	c.scanned = len(stored) < comparePage && len(built) < comparePage
	c.cursor = &Cursor{ID: last}
	return nil
}

// pageIDs are the ids that two pages know all about: up to the nearer end of those that
// are full.
func pageIDs(pages ...[]Document) (ids []string, last string) {
	for _, page := range pages {
		if len(page) == comparePage && (last == "" || page[len(page)-1].ID < last) {
			last = page[len(page)-1].ID
		}
	}
	for _, page := range pages {
		for _, d := range page {
			if last == "" || d.ID <= last {
				ids = append(ids, d.ID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), last
}

// lookAgain looks at the documents that had changed: when the new table has come up to
// them, and at those that have changed again while nothing is folded.
func (c *comparing) lookAgain(ctx context.Context) error {
	for len(c.changed) > 0 {
		if err := c.comeUp(ctx); err != nil {
			return err
		}
		ids := slices.Clone(c.changed[:min(comparePage, len(c.changed))])
		slices.Sort(ids)
		left, err := c.look(ctx, ids, false)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			if err := c.standing(ctx, func(ctx context.Context) error {
				_, err := c.look(ctx, left, true)
				return err
			}); err != nil {
				return err
			}
		}
		c.changed = c.changed[len(ids):]
	}
	return nil
}

// look reads documents from both tables and judges them.
func (c *comparing) look(ctx context.Context, ids []string, still bool) (changed []string, err error) {
	stored, err := c.store.Get(ctx, c.live, ids)
	if err != nil {
		return nil, err
	}
	built, err := c.store.Get(ctx, c.table, ids)
	if err != nil {
		return nil, err
	}
	if still {
		if err := c.steady(ctx); err != nil {
			return nil, err
		}
	}
	return c.judge(ids, stored, built, still), nil
}

// standing has Run fold nothing while do is at work, with the new table exactly where the
// live ones are. What fails in it is no concern of Run's.
func (c *comparing) standing(ctx context.Context, do func(context.Context) error) error {
	var failed error
	err := c.whileStanding(ctx, func(running context.Context, front *group) (reload bool, err error) {
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(running, cancel)()
		if failed = c.advance(both, c.anew, front.position); failed == nil {
			failed = do(both)
		}
		return false, nil
	})
	return errors.Join(err, failed)
}

// steady makes sure that both tables are at the same position.
func (c *comparing) steady(ctx context.Context) error {
	tables, err := c.store.Tables(ctx)
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == c.live && t.Position != c.anew.position {
			return ErrUnsteady
		}
	}
	return nil
}

// restAfter leaves the processor and the store to others for longer than was worked.
func restAfter(ctx context.Context, begun time.Time) error {
	const times, most = 2, 400 * time.Millisecond
	return rest(ctx, min(times*time.Since(begun), most))
}

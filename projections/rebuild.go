package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"truebond/events"
)

// A halt asks Run to stand still while do is at work. do tells whether the live tables
// have to be loaded again; when it fails, they are.
type halt struct {
	do   func(ctx context.Context, front *group) (reload bool, err error)
	done chan error // holds one
}

// whileStanding has Run stand still for a while.
func (p *Projector) whileStanding(
	ctx context.Context, do func(ctx context.Context, front *group) (reload bool, err error),
) error {
	wish := halt{do: do, done: make(chan error, 1)}
	select {
	case p.halts <- wish:
		return <-wish.done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrBuilding says that a view is being built or compared already.
var ErrBuilding = errors.New("it is being built or compared already")

// Rebuild builds views again from the first event, beside the tables that are live,
// and lets the new ones take over when they have caught up: all in one step each, so
// that readers see one or the other. No names are all views. Run must be going on, and
// goes on serving.
//
// progress, if any, is told how many events of how many are in. When ctx ends, what was
// built is dropped, and the live tables stay. So it is after a crash, at the next Prepare.
func (p *Projector) Rebuild(
	ctx context.Context, names []string, progress func(view string, done, total uint64),
) error {
	views, err := p.claim(names)
	if err != nil {
		return err
	}
	defer p.release(views)
	ctx, cancel := p.whileRunning(ctx)
	defer cancel()
	tables, err := p.createBeside(ctx, views)
	if err == nil {
		report := func(done, total uint64) {
			for _, v := range views {
				if progress != nil {
					progress(v.Name, done, total)
				}
			}
		}
		err = p.insist(ctx, "rebuild views", func(ctx context.Context) (bool, error) {
			return p.buildBeside(ctx, tables, report)
		})
	}
	if err != nil {
		p.dropUnfinished(ctx, tables)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("rebuild: %w", err)
	}
	return nil
}

// whileRunning is a context that ends with ErrStopped when Run does.
func (p *Projector) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.stopped:
			cancel(ErrStopped)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// claim finds views by their names, all if none is given, and keeps others from rebuilding
// or comparing them too until they are released.
func (p *Projector) claim(names []string) ([]View, error) {
	building := p.Building()
	p.mu.Lock()
	defer p.mu.Unlock()
	var views []View
	for _, v := range p.views {
		if len(names) > 0 && !slices.Contains(names, v.Name) {
			continue
		}
		if p.claimed[v.Name] || slices.Contains(building, v.Name) {
			return nil, fmt.Errorf("view %s: %w", v.Name, ErrBuilding)
		}
		views = append(views, v)
	}
	for _, name := range names {
		if !slices.ContainsFunc(views, func(v View) bool { return v.Name == name }) {
			return nil, fmt.Errorf("there is no view %q", name)
		}
	}
	for _, v := range views {
		p.claimed[v.Name] = true
	}
	return views, nil
}

func (p *Projector) release(views []View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range views {
		delete(p.claimed, v.Name)
	}
}

// createBeside makes a further table for each view. What it has made it returns also
// with an error. A table that could not be dropped before goes first, or there would be one
// more each time.
func (p *Projector) createBeside(ctx context.Context, views []View) (made []string, err error) {
	tables, err := p.store.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	for _, name := range survey(views, tables).leftover {
		if err := p.store.Drop(ctx, name); err != nil {
			return nil, fmt.Errorf("drop table %s: %w", name, err)
		}
	}
	for _, v := range views {
		_, _, lastBuild := tablesOf(v, tables)
		name := tableName(v, lastBuild+1)
		made = append(made, name)
		t := Table{Name: name, View: v.Name, Version: v.Version, Indexes: v.Indexes}
		if err := p.store.Create(ctx, t); err != nil {
			return made, fmt.Errorf("create table %s: %w", name, err)
		}
	}
	return made, nil
}

// buildBeside brings those of these tables that are not live yet up to the live ones.
func (p *Projector) buildBeside(
	ctx context.Context, names []string, report func(done, total uint64),
) (moved bool, err error) {
	tables, err := p.store.Tables(ctx)
	if err != nil {
		return false, fmt.Errorf("list the tables: %w", err)
	}
	var builds []*build
	for _, name := range names {
		i := slices.IndexFunc(tables, func(t Progress) bool { return t.Name == name })
		if i < 0 {
			return false, fmt.Errorf("%w: table %s was dropped while it was built", ErrBroken, name)
		}
		if tables[i].Live {
			continue
		}
		v := slices.IndexFunc(p.views, func(v View) bool { return v.Name == tables[i].View })
		builds = append(builds, p.newBuild(viewTable{p.views[v], tables[i]}))
	}
	if len(builds) == 0 {
		return true, nil
	}
	began := positions(builds)
	err = p.catchUp(ctx, builds, report)
	return positions(builds) > began, err
}

// positions are the sum of where builds are. It grows when one gets on.
func positions(builds []*build) (sum uint64) {
	for _, b := range builds {
		sum += b.Position
	}
	return sum
}

// dropUnfinished drops those of these tables that are not live. A large one may take
// minutes; when ctx has ended, there is no time for that.
func (p *Projector) dropUnfinished(ctx context.Context, names []string) {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), p.limits.dropMax)
		defer cancel()
	}
	tables, err := p.store.Tables(ctx)
	for _, t := range tables {
		if t.Live || !slices.Contains(names, t.Name) {
			continue
		}
		err = p.store.Drop(ctx, t.Name)
		if err != nil {
			break
		}
	}
	if err != nil {
		p.logger.Warn("cannot drop what a rebuild has left; the next one or a start will", "tables", names, "error", err)
	}
}

// catchUp folds tables that are behind until they are nearly where the live ones are,
// and has Run do the last stretch. Those that are furthest behind begin, and the others
// join in where they are.
func (p *Projector) catchUp(ctx context.Context, builds []*build, report func(done, total uint64)) error {
	g, ahead := furthestBehind(builds)
	near := func() bool {
		return len(ahead) == 0 && g.position+uint64(p.limits.batchEvents) >= p.reach.frontPosition()
	}
	if !near() {
		err := p.each(ctx, g.position, func(records []events.Record) error {
			var err error
			if ahead, err = p.foldTogether(ctx, g, ahead, records); err != nil {
				return err
			}
			if err := p.tell(ctx, g, report); err != nil {
				return err
			}
			if near() {
				return errEnough
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := p.whileStanding(ctx, func(ctx context.Context, front *group) (bool, error) {
		return true, p.join(ctx, front, g)
	})
	if err != nil {
		return err
	}
	return p.tell(ctx, g, report)
}

// tell reports how far a group is, if anybody wants to know.
func (p *Projector) tell(ctx context.Context, g *group, report func(done, total uint64)) error {
	if report == nil {
		return nil
	}
	last, err := p.log.Last(ctx)
	if err != nil {
		return fmt.Errorf("read the log's last position: %w", err)
	}
	report(g.position, max(g.position, last))
	return nil
}

// furthestBehind makes a group of the builds at the least position. The others are
// ahead, the nearest first.
func furthestBehind(builds []*build) (g *group, ahead []*build) {
	ahead = slices.SortedFunc(slices.Values(builds), func(a, b *build) int {
		return cmp.Compare(a.Position, b.Position)
	})
	g = &group{position: ahead[0].Position}
	return g, g.takeIn(ahead)
}

// takeIn adds the builds that the group has come up to. The rest is returned.
func (g *group) takeIn(ahead []*build) []*build {
	for len(ahead) > 0 && ahead[0].Position == g.position {
		g.builds = append(g.builds, ahead[0])
		ahead = ahead[1:]
	}
	return ahead
}

// foldTogether folds events into a group that takes in the builds it comes up to.
func (p *Projector) foldTogether(
	ctx context.Context, g *group, ahead []*build, records []events.Record,
) ([]*build, error) {
	for len(records) > 0 {
		part := records
		if len(ahead) > 0 {
			part = upTo(records, ahead[0].Position)
		}
		records = records[len(part):]
		if err := p.fold(ctx, g, part); err != nil {
			return ahead, err
		}
		for _, b := range g.builds {
			b.Position = g.position
		}
		ahead = g.takeIn(ahead)
	}
	return ahead, nil
}

// upTo are the records up to a position.
func upTo(records []events.Record, position uint64) []events.Record {
	n := 0
	for n < len(records) && records[n].Position <= position {
		n++
	}
	return records[:n]
}

// join brings a group to where the live tables are and lets it take over. Nothing else
// is folded meanwhile. (A group that is further than they are, since another projector
// is at work, takes over too: they will have to catch up with it.) Afterwards, and after
// a failure, the live tables must be loaded again.
func (p *Projector) join(ctx context.Context, front, g *group) error {
	if err := p.advance(ctx, g, front.position); err != nil {
		return err
	}
	for _, b := range g.builds {
		if b.Live {
			continue
		}
		if err := p.store.GoLive(ctx, b.Name); err != nil {
			return fmt.Errorf("read view %s from table %s: %w", b.View, b.Name, err)
		}
		p.logger.Info("a view is read from a new table", "view", b.View, "table", b.Name, "position", g.position)
	}
	return nil
}

// advance folds the log into a group up to a position.
func (p *Projector) advance(ctx context.Context, g *group, to uint64) error {
	if g.position >= to {
		return nil
	}
	return p.each(ctx, g.position, func(records []events.Record) error {
		if err := p.fold(ctx, g, upTo(records, to)); err != nil {
			return err
		}
		if g.position >= to {
			return errEnough
		}
		return nil
	})
}

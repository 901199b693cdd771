package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	"truebond/events"
	"truebond/http"
	"truebond/ledger"
)

// operator is http.Operator: what the server does for an operator beyond the ledger's commands.
type operator struct{ *Server }

func (o operator) Rebuild(ctx context.Context, names []string, progress func(view string, done, total uint64)) error {
	known, err := knownViews(names)
	if err != nil {
		return err
	}
	totals := map[string]uint64{}
	err = o.projector.Rebuild(ctx, names, func(view string, done, total uint64) {
		totals[view] = total
		progress(view, done, total)
	})
	// Also after an error, which may have come behind the swap. What the writer had read before would be
	// believed for as long as it is in use.
	if slices.ContainsFunc(ledger.Folds(), func(f events.Folding) bool { return slices.Contains(known, f.Name) }) {
		err = cmp.Or(err, o.writer.Reread(ctx))
	}
	if err != nil {
		return ofViews(ctx, err)
	}
	for view, total := range totals { // the log has grown while they caught up with it
		progress(view, total, total)
	}
	return nil
}

func (o operator) Compare(ctx context.Context, names []string, show func(http.CompareLine)) error {
	names, err := knownViews(names)
	if err != nil {
		return err
	}
	return o.compare(ctx, names, show)
}

func (o operator) Follow(ctx context.Context, after uint64, show func(events.Record) error) error {
	if err := o.within(ctx, after); err != nil {
		return err
	}
	const atOnce = 100
	return o.Log.Follow(ctx, after, atOnce, func(records []events.Record) error {
		for _, r := range records {
			if err := show(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o operator) Advance(ctx context.Context, by time.Duration) (time.Time, error) {
	return o.timers.Advance(ctx, by)
}

func (o operator) TestClock() bool { return o.clock.IsTest() }

// Archive archives the log up to now.
func (o operator) Archive(ctx context.Context) (http.Archived, error) {
	a := o.archiver
	if a == nil {
		return http.Archived{}, ledger.Refuse("no_archive", "The server keeps no archive: start it with --archive.")
	}
	if err := o.tree.Await(ctx, a.durable()); err != nil {
		return http.Archived{}, err
	}
	if err := a.round(ctx); err != nil {
		if ctx.Err() != nil { // it takes its time, and goes on by itself
			return http.Archived{}, err
		}
		a.failed(ctx, err)
		return http.Archived{}, ledger.Refuse("archive_failing", "The archive cannot be written: %v.", err)
	}
	return http.Archived{Position: a.position(), Place: a.store.String()}, nil
}

var _ http.Operator = operator{}

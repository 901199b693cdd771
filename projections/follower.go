package projections

import (
	"context"
	"fmt"
	"log/slog"
)

// A Follower knows how far views are that a projector in another process stores.
type Follower struct {
	store  Store
	views  []View
	logger *slog.Logger
	reach  reach
}

// NewFollower makes a follower of these views. It knows nothing before Run.
func NewFollower(store Store, views []View, logger *slog.Logger) *Follower {
	return &Follower{store: store, views: views, logger: logger, reach: newReach()}
}

// Run looks at the stored positions until ctx ends: often while somebody waits, and now
// and then otherwise.
func (f *Follower) Run(ctx context.Context) error {
	for failed := false; ctx.Err() == nil; {
		err := f.look(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			f.logger.WarnContext(ctx, "the stored positions cannot be read", "error", err)
		}
		failed = err != nil
		f.reach.pace(ctx)
	}
	return nil
}

func (f *Follower) look(ctx context.Context) error {
	tables, err := f.store.Tables(ctx)
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	f.reach.load(survey(f.views, tables))
	return nil
}

// Position is the position up to which whatever is read from a view holds all events, as
// of the last look.
func (f *Follower) Position() uint64 { return f.reach.position() }

// Wait returns when Position has come to a position, or with ctx's error when that ends
// first.
func (f *Follower) Wait(ctx context.Context, position uint64) error {
	return f.reach.await(ctx, position, false)
}

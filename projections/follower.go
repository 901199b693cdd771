package projections

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	awaitedEvery = 20 * time.Millisecond  // between two looks while somebody waits
	idleEvery    = 500 * time.Millisecond // while nobody does
)

// A Follower knows how far views are that a projector in another process stores.
type Follower struct {
	store  Store
	views  []View
	logger *slog.Logger
	state  progress
}

// NewFollower makes a follower of these views. It knows nothing before Run.
func NewFollower(store Store, views []View, logger *slog.Logger) *Follower {
	return &Follower{store: store, views: views, logger: logger, state: newProgress()}
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
		f.state.pace(ctx)
	}
	return nil
}

func (f *Follower) look(ctx context.Context) error {
	tables, err := f.store.Tables(ctx)
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	f.state.load(survey(f.views, tables))
	return nil
}

// pace waits until the next look is due.
func (s *progress) pace(ctx context.Context) {
	s.mu.Lock()
	awaited := s.wanted > min(s.front, s.floor)
	s.mu.Unlock()
	most := idleEvery
	if awaited {
		most = awaitedEvery
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	hurry := s.hurry
	if awaited {
		hurry = nil // it is known already
	}
	select {
	case <-hurry:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Position is the position up to which whatever is read from a view holds all events, as
// of the last look.
func (f *Follower) Position() uint64 { return f.state.position() }

// Wait returns when Position has come to a position, or with ctx's error when that ends
// first.
func (f *Follower) Wait(ctx context.Context, position uint64) error {
	return f.state.await(ctx, position, false)
}

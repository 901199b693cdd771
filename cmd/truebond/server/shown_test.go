package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/sqlite"
)

// Whoever decides changes in the very moment in which the wait is too long.
func TestWhoWaitsForTheViewsLearnsThatItTookTooLong(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			s := newShown(nil, nil, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			time.AfterFunc(time.Second, func() { s.take(nil) })
			if err := s.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		})
	}
}

// noLog has no event, and none comes.
type noLog struct{}

func (noLog) Last(context.Context) (uint64, error) { return 0, nil }
func (noLog) Known() uint64                        { return 0 }

func (noLog) Follow(ctx context.Context, _ uint64, _ int, _ func([]events.Record) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// An operator's rebuild outlives the term in which it was begun.
func TestAViewThatIsBuiltWhenAServerLeadsNoMoreIsToBeAskedForAgain(t *testing.T) {
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context()) //nolint:errcheck // it goes with its folder
	p := projections.NewProjector(store, noLog{}, projections.Catalogue(), slog.New(slog.DiscardHandler))
	if err := p.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := p.Run(over); err != nil {
		t.Fatal(err)
	}
	s := newShown(nil, nil, nil)
	s.take(p)
	if err := s.Rebuild(t.Context(), []string{"users"}, nil); !errors.Is(err, writer.ErrNoLeader) {
		t.Errorf("who rebuilds is told %v", err)
	}
	if _, err := s.Compare(t.Context(), "users", nil); !errors.Is(err, writer.ErrNoLeader) {
		t.Errorf("who compares is told %v", err)
	}
}

func TestAnOperatorLearnsWhetherViewsMayBeBuiltLater(t *testing.T) {
	broken := errors.Join(projections.ErrBroken, errors.New("the disk"))
	if err := ofViews(t.Context(), broken); errors.As(err, new(*ledger.Refusal)) {
		t.Errorf("what stays broken is told as %v", err)
	}
	if err := ofViews(t.Context(), errors.New("no space left on device")); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("a store that fails is told as %v", err)
	}
}

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"truebond/commands/cluster"
	"truebond/projections"
)

// The driver of a MongoDB that is silent ends in its own time, also when the lease is lost meanwhile.
func TestALeaderThatLeavesItsLeaseGoesOnServing(t *testing.T) {
	s := &Server{Options: Options{Logger: slog.New(slog.DiscardHandler)}}
	ctx, lose := context.WithCancelCause(t.Context())
	misses, stopped := fmt.Errorf("%w: MongoDB", errMisses), errors.New("the projector has not stopped")
	if err := s.afterTerm(ctx, misses, stopped); err != nil {
		t.Errorf("the server ends with %v", err)
	}
	lose(cluster.ErrLost)
	if err := s.afterTerm(ctx, misses, stopped); err != nil {
		t.Errorf("without its lease the server ends with %v", err)
	}
	if err := s.afterTerm(ctx, nil, stopped); !errors.Is(err, stopped) {
		t.Errorf("what does not stop is told as %v", err)
	}
}

// silence is a store that does not answer.
type silence struct {
	projections.Store
	asked func()
}

func (s silence) Ping(ctx context.Context) error {
	s.asked()
	<-ctx.Done()
	return ctx.Err()
}

// An answer that nobody waits for any more is not missed.
func TestALeaderLeavesItsLeaseToWhoStillAsks(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: miniredis.RunT(t).Addr()})
	defer client.Close() //nolint:errcheck // it goes with its server
	failures := make(chan error, 1)
	asked, leave := context.WithCancel(t.Context())
	leads := &term{Server: &Server{redis: client, Store: silence{asked: leave}}, failures: failures}
	leads.yield(asked)
	if len(failures) > 0 {
		t.Errorf("nobody asks any more, and it ends with %v", <-failures)
	}
	leads.yield(t.Context())
	select {
	case err := <-failures:
		if !errors.Is(err, errMisses) || !strings.Contains(err.Error(), "MongoDB") || strings.Contains(err.Error(), "Redis") {
			t.Errorf("it ends with %v", err)
		}
	default:
		t.Error("it goes on")
	}
}

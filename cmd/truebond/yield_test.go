package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"truebond/commands/cluster"
)

// The driver of a MongoDB that is silent ends in its own time, also when the lease is lost meanwhile.
func TestALeaderThatLeavesItsLeaseGoesOnServing(t *testing.T) {
	s := &server{options: options{logger: slog.New(slog.DiscardHandler)}}
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

package server

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"truebond/commands/cluster"
	"truebond/commands/writer"
	"truebond/ledger"
)

// For the log: most often it is the client who has left.
func TestWhyTheLeaderHasNotAnsweredIsKept(t *testing.T) {
	told := passed(fmt.Errorf("%w: %w", cluster.ErrNoAnswer, context.Canceled))
	if !errors.Is(told, &ledger.Refusal{Code: "no_answer"}) || !errors.Is(told, context.Canceled) {
		t.Errorf("it is told %v", told)
	}
}

func TestWhoWaitsForALeaderLearnsThatTheServerStops(t *testing.T) {
	s := &Server{}
	s.lease = &cluster.Lease{}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(writer.ErrStopping)
	if _, err := s.Pass(ctx, nil, nil); !errors.Is(err, writer.ErrStopping) {
		t.Errorf("it is told %v", err)
	}
}

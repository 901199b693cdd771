package queries

import (
	"context"
	"errors"
	"testing"

	"truebond/events/merkle"
	"truebond/ledger"
	"truebond/projections"
)

// laggard is a log of which a server tells that was cut off at 3; others have more.
type laggard struct{}

func (laggard) Last(context.Context) (uint64, error)                      { return 3, nil }
func (laggard) Body(context.Context, uint64) ([]byte, error)              { return []byte("{}"), nil }
func (laggard) ReadBodies(context.Context, uint64, int) ([][]byte, error) { return nil, nil }

// sapling is a tree that covers nothing behind 3.
type sapling struct{ Tree }

func (sapling) Signed() *merkle.Signed {
	return &merkle.Signed{Checkpoint: merkle.Checkpoint{Size: 3}}
}

func (sapling) Await(ctx context.Context, _ uint64) error { return errors.New("it does not grow") }

// Who has waited for the views to show an event is not told that there is none.
func TestWhatTheViewsShowIsInTheLog(t *testing.T) {
	s := NewService(Parts{Views: projections.NewReader(nil), Bodies: laggard{}, Tree: sapling{},
		Position: func() uint64 { return 5 }})
	if got, err := s.AuditEvent(t.Context(), AuditPosition{5}); err != nil || string(got.Body) != "{}" {
		t.Errorf("event 5 is %s, %v", got.Body, err)
	}
	if _, err := s.AuditEvent(t.Context(), AuditPosition{6}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("event 6 is %v", err)
	}
	if _, err := s.Proof(t.Context(), ProofOf{Position: 5}); !errors.Is(err, &ledger.Refusal{Code: codeTreeBuilding}) {
		t.Errorf("the proof of event 5 is %v", err)
	}
}

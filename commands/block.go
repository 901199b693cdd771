package commands

import (
	"context"

	"truebond/ledger"
)

// UserID names a user in a path.
type UserID struct {
	ID string `param:"id"`
}

// BlockState says whether somebody is blocked now.
type BlockState struct {
	Receipt
	UserID  string `json:"user_id"`
	Blocked bool   `json:"blocked"`
}

// Block keeps somebody from writing to the caller and calling them. Again is no harm.
func (s *Service) Block(ctx context.Context, in UserID) (BlockState, error) {
	return s.setBlock(ctx, ledger.Block(ledger.CallerOf(ctx).Actor.ID, in.ID), in.ID, true)
}

// Unblock takes a block back. Again is no harm.
func (s *Service) Unblock(ctx context.Context, in UserID) (BlockState, error) {
	return s.setBlock(ctx, ledger.Unblock(ledger.CallerOf(ctx).Actor.ID, in.ID), in.ID, false)
}

func (s *Service) setBlock(ctx context.Context, decide ledger.Decision, user string, blocked bool) (BlockState, error) {
	key, request := once(ctx)
	done, err := s.ask(ctx, key, request, decide)
	if err != nil && !isNothingToDo(err) {
		return BlockState{}, err
	}
	return BlockState{Receipt: s.receiptOrEnd(done), UserID: user, Blocked: blocked}, nil
}

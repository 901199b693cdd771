package server

import (
	"context"
	"errors"
	"fmt"

	"truebond/commands"
	"truebond/commands/cluster"
	"truebond/events"
	"truebond/ledger"
)

// checkRestoredCluster refuses a cluster in which a restore has not ended.
func (s *Server) checkRestoredCluster(ctx context.Context) error {
	if s.conn == nil {
		return nil
	}
	unfinished, err := cluster.RestoreUnfinished(ctx, s.conn)
	if err != nil || !unfinished {
		return err
	}
	return errors.New("a restore into the cluster is under way, or was cut off: what is there is not a whole log; " +
		"run `truebond restore` again")
}

// repeatErasures erases those again whose erasure was left behind by a restore to an
// earlier moment. Who had not signed up by then has no documents, but perhaps a key.
func (s *Server) repeatErasures(ctx context.Context) error {
	users, err := s.folder.EraseAgain()
	if err != nil {
		return err
	}
	if s.conn != nil {
		noted, err := cluster.EraseAgain(ctx, s.conn)
		if err != nil {
			return err
		}
		users = append(users, noted...)
	}
	if len(users) == 0 {
		return nil
	}
	ctx = ledger.WithCaller(ctx, ledger.Caller{Actor: events.System})
	for _, user := range users {
		_, err := s.Commands.Erase(ctx, commands.Erase{UserID: user, Reason: "was erased before the log was restored"})
		var refused *ledger.Refusal
		if errors.As(err, &refused) && (refused.Code == ledger.CodeUnknownUser || refused.Code == ledger.CodeNothingToDo) {
			err = s.vault.Erase(ctx, user)
		}
		if err != nil {
			return fmt.Errorf("erase %s again: %w", user, err)
		}
	}
	s.Logger.InfoContext(ctx, "erased again, as before the log was restored", "people", len(users))
	if s.conn != nil {
		if err := cluster.ForgetEraseAgain(ctx, s.conn); err != nil {
			return err
		}
	}
	return s.folder.ForgetEraseAgain()
}

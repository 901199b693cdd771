package server

import (
	"context"

	"truebond/commands/vault"
)

// NewestPeople are looked at when a server begins to lead: a vault that is older than the log lacks the keys
// of those who have come last.
const NewestPeople = 100

// tellMissingKeys tells of a vault that is older than the log, and ends. The server leads all the same:
// whoever has a key goes on.
func (t *term) tellMissingKeys(ctx context.Context) error {
	newest, err := t.Queries.NewestPeople(ctx, NewestPeople)
	var without []string
	if err == nil {
		without, err = vault.WithoutKey(ctx, t.keys, newest)
	}
	switch {
	case ctx.Err() != nil: // it stops
	case err != nil: // as everybody is told who needs a key
		t.Logger.ErrorContext(ctx, "nobody can tell whether those who came last have their keys", "error", err)
	case len(without) > 0:
		t.Logger.ErrorContext(ctx, "the vault is older than the log: people who came last have no key, and what they "+
			"told and wrote cannot be read. Bring back a newer copy of the vault; `truebond verify` tells who they are",
			"without_key", len(without), "looked_at", len(newest), "newest", without[0])
	}
	return nil
}

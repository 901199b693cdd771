package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/cmd/truebond/wording"
	"truebond/commands/vault"
	"truebond/events"
)

// A register is those whom a log has and has not erased, and the event with which each came.
type register map[string]uint64

func (r register) note(e events.Event) {
	switch d := e.Data.(type) {
	case events.UserSignedUp:
		r[d.User] = e.Position
	case events.StaffCreated:
		r[d.User] = e.Position
	case events.UserErased:
		delete(r, d.User)
	}
}

// verifyKeys finds people whose keys the vault lacks: it is older than a sound log.
func verifyKeys(ctx context.Context, folder datafolder.Folder, there register, out io.Writer) error {
	notTold := func(err error) error {
		return fmt.Errorf("the log is right, but whether people have their keys cannot be told: %w", err)
	}
	s, err := settings.Read()
	if err != nil {
		return notTold(err)
	}
	place := folder.Join(datafolder.VaultFile)
	if s.MongoURL != "" {
		place = "the vault's database"
	} else if _, err := os.Stat(place); err != nil {
		_, err = fmt.Fprintf(out, "There is no %s: nobody has looked whether people have their keys.\n", place)
		return err
	}
	keys, err := server.ReadKeys(ctx, s.MongoURL, folder)
	if err != nil {
		return notTold(err)
	}
	defer keys.Close(ctx) //nolint:errcheck // it was only read
	without, err := vault.WithoutKey(ctx, keys, slices.Collect(maps.Keys(there)))
	if err != nil {
		return notTold(err)
	}
	if len(without) == 0 {
		_, err = fmt.Fprintf(out, "The vault has the %s of all who are not erased.\n",
			wording.Counted(len(there), "key", "keys"))
		return err
	}
	slices.SortFunc(without, func(a, b string) int { return cmp.Compare(there[a], there[b]) })
	for _, user := range without {
		if _, err := fmt.Fprintf(out, "%s, who came with event %d, has no key.\n", user, there[user]); err != nil {
			return err
		}
	}
	return fmt.Errorf("the log is right, but %s has no key for %s of %d who are not erased: they cannot log in, and "+
		"what they told and wrote cannot be read. It is older than the log, or of another: bring back a copy from after "+
		"event %d, or erase them where there is none (docs/operator.md)",
		place, wording.Counted(len(without), "person", "people"), len(there), there[without[len(without)-1]])
}

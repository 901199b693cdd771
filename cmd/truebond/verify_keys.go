package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// A keyCheck looks, while a log is read, whether those who are not erased have keys in the vault, and
// whether these open what was sealed for them.
type keyCheck struct {
	place   string // of the vault
	keys    vault.ReadCloser
	checker *vault.Checker
	codec   *events.Codec
	omitted string // why nobody looks; empty: somebody does
	sealed  string // why nobody looks whether keys open anything; likewise
	err     error  // why it cannot be told

	people int                 // who came and were not erased
	texts  []events.Sealed     // not yet looked at
	from   map[string]uint64   // the event with the first of those of each owner
	faults map[string]keyFault // by their owners
}

// A keyFault is why somebody's text cannot be read.
type keyFault struct {
	position uint64
	err      error
}

const textsAtOnce = 1000

// openKeyCheck opens the vault. What is wrong with it is told in the report: it is no fault of the log.
func openKeyCheck(ctx context.Context, folder datafolder.Folder) *keyCheck {
	c := &keyCheck{place: folder.Join(datafolder.VaultFile), from: map[string]uint64{}, faults: map[string]keyFault{}}
	c.err = c.open(ctx, folder)
	return c
}

func (c *keyCheck) open(ctx context.Context, folder datafolder.Folder) error {
	s, err := settings.Read()
	if err != nil {
		return err
	}
	if s.MongoURL != "" {
		c.place = "the vault's database"
	} else if _, err := os.Stat(c.place); err != nil {
		c.omitted = fmt.Sprintf("There is no %s: nobody has looked whether people have their keys.", c.place)
		return nil
	}
	if c.codec, err = events.NewCodec(); err != nil {
		return err
	}
	if c.keys, err = server.ReadKeys(ctx, s.MongoURL, folder); err != nil {
		return err
	}
	secrets := []string{s.JWTSecret}
	if s.JWTSecret == "" {
		if secrets, err = ownSecrets(folder); err != nil {
			return err
		}
		c.sealed = fmt.Sprintf("JWT_SECRET is empty, and there is no %s", folder.Join(datafolder.JWTSecretFile))
	}
	for _, secret := range secrets {
		c.checker, err = vault.NewChecker(ctx, c.keys, secret)
		if err == nil {
			c.sealed = ""
			return nil
		}
		if !errors.Is(err, vault.ErrSecret) {
			return err
		}
		c.sealed = "the secret that is at hand is not the vault's"
	}
	c.checker, err = vault.NewChecker(ctx, c.keys, "")
	return err
}

// ownSecrets are those that the folder has; two, where a rotation was cut off.
func ownSecrets(folder datafolder.Folder) (secrets []string, err error) {
	for _, name := range []string{datafolder.JWTSecretFile, datafolder.NextSecretFile} {
		secret, err := folder.ReadSecret(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

func (c *keyCheck) close(ctx context.Context) {
	if c.keys != nil {
		_ = c.keys.Close(ctx) // it was only read
	}
}

// add takes the next event of the log.
func (c *keyCheck) add(ctx context.Context, e events.Event) {
	if c.err != nil || c.omitted != "" {
		return
	}
	for _, text := range c.codec.Texts(e) {
		if c.from[text.Owner] == 0 {
			c.from[text.Owner] = e.Position
		}
		c.texts = append(c.texts, text)
	}
	switch d := e.Data.(type) {
	case events.UserSignedUp, events.StaffCreated:
		c.people++
	case events.UserErased:
		c.people--
		c.look(ctx)
		delete(c.faults, d.User)
	}
	if len(c.texts) >= textsAtOnce {
		c.look(ctx)
	}
}

// look looks at the texts that have come together.
func (c *keyCheck) look(ctx context.Context) {
	why, err := c.checker.Check(ctx, c.texts)
	if err != nil {
		c.err = err
	}
	for owner, err := range why {
		if _, known := c.faults[owner]; !known {
			c.faults[owner] = keyFault{c.from[owner], err}
		}
	}
	c.texts = c.texts[:0]
	clear(c.from)
}

// report tells of a sound log's people whose keys are missing, or open nothing: the vault is not the log's.
func (c *keyCheck) report(ctx context.Context, out io.Writer) error {
	if c.omitted != "" {
		_, err := fmt.Fprintln(out, c.omitted)
		return err
	}
	if c.err == nil {
		c.look(ctx)
	}
	if c.err != nil {
		return fmt.Errorf("the log is right, but whether people have their keys cannot be told: %w", c.err)
	}
	if len(c.faults) > 0 {
		return c.reportFaults(out)
	}
	opens := "Each opens all that was sealed with it."
	if c.sealed != "" {
		opens = fmt.Sprintf("Whether each opens what was sealed with it, nobody has looked: %s.", c.sealed)
	}
	_, err := fmt.Fprintf(out, "The vault has the %s of all who are not erased. %s\n",
		wording.Counted(c.people, "key", "keys"), opens)
	return err
}

func (c *keyCheck) reportFaults(out io.Writer) error {
	missing, newest := 0, uint64(0)
	for _, user := range slices.SortedFunc(maps.Keys(c.faults), c.byPosition) {
		fault := c.faults[user]
		line := fmt.Sprintf("%s has another key: %v.", user, fault.err)
		if !errors.Is(fault.err, vault.ErrTampered) {
			missing, newest = missing+1, fault.position
			line = fmt.Sprintf("%s, who came with event %d, has no key.", user, fault.position)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	const follows = "they cannot log in, or what they told and wrote cannot be read"
	if missing == 0 {
		return fmt.Errorf("the log is right, but %s has another key for %s of %d who are not erased: %s. An older program "+
			"made it where the first was lost: bring back a copy that has the first, or erase them where there is none "+
			"(docs/operator.md)", c.place, wording.Counted(len(c.faults), "person", "people"), c.people, follows)
	}
	return fmt.Errorf("the log is right, but %s has no key for %s of %d who are not erased: %s. It is older than the "+
		"log, or of another: bring back a copy from after event %d, or erase them where there is none (docs/operator.md)",
		c.place, wording.Counted(missing, "person", "people"), c.people, follows, newest)
}

func (c *keyCheck) byPosition(a, b string) int {
	return cmp.Or(cmp.Compare(c.faults[a].position, c.faults[b].position), cmp.Compare(a, b))
}

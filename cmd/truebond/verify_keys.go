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
	place     string // of the vault
	keys      vault.ReadCloser
	checker   *vault.Checker
	codec     *events.Codec
	notLooked string // why nobody looks for keys; empty: somebody does
	notTried  string // why nobody tries whether they open anything; likewise
	err       error  // why it cannot be told

	people int                 // who came and were not erased
	erased map[string]bool     // and who were
	texts  []events.Sealed     // that are still to be tried
	since  map[string]uint64   // the event with the first of those of each owner
	faults map[string]keyFault // by their owners
}

// A keyFault is the first text of somebody's that cannot be read.
type keyFault struct {
	vault.Unread

	position uint64 // hardly behind that of the event
}

const textsAtOnce = 1000

// openKeyCheck opens the vault. What is wrong with it is told in the report: it is no fault of the log.
func openKeyCheck(ctx context.Context, folder datafolder.Folder) *keyCheck {
	c := &keyCheck{place: folder.Join(datafolder.VaultFile), erased: map[string]bool{},
		since: map[string]uint64{}, faults: map[string]keyFault{}}
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
		c.notLooked = fmt.Sprintf("There is no %s: nobody has looked whether people have their keys.", c.place)
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
		c.notTried = fmt.Sprintf("JWT_SECRET is empty, and there is no %s", folder.Join(datafolder.JWTSecretFile))
	}
	for _, secret := range secrets {
		c.checker, err = vault.NewChecker(ctx, c.keys, secret)
		if err == nil {
			c.notTried = ""
			return nil
		}
		if !errors.Is(err, vault.ErrSecret) {
			return err
		}
		c.notTried = "the secret that is at hand is not the vault's"
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
	if c.err != nil || c.notLooked != "" {
		return
	}
	for _, text := range c.codec.Texts(e) {
		if c.erased[text.Owner] {
			continue
		}
		if c.since[text.Owner] == 0 {
			c.since[text.Owner] = e.Position
		}
		c.texts = append(c.texts, text)
	}
	switch d := e.Data.(type) {
	case events.UserSignedUp, events.StaffCreated:
		c.people++
	case events.UserErased:
		c.people--
		c.look(ctx)
		c.erased[d.User] = true
		delete(c.faults, d.User)
	}
	if len(c.texts) >= textsAtOnce {
		c.look(ctx)
	}
}

// look looks at the texts that have come together.
func (c *keyCheck) look(ctx context.Context) {
	unread, err := c.checker.Check(ctx, c.texts)
	if err != nil {
		c.err = err
	}
	for owner, first := range unread {
		if _, known := c.faults[owner]; !known {
			c.faults[owner] = keyFault{first, c.since[owner]}
		}
	}
	c.texts = c.texts[:0]
	clear(c.since)
}

// report tells of a sound log's people whose keys are missing, or open nothing: the vault is not the log's.
func (c *keyCheck) report(ctx context.Context, out io.Writer) error {
	if c.notLooked != "" {
		_, err := fmt.Fprintln(out, c.notLooked)
		return err
	}
	if c.err == nil {
		c.look(ctx)
	}
	if c.err != nil {
		return fmt.Errorf("the log is right, but whether people have their keys cannot be told: %w", c.err)
	}
	return c.reportFound(out)
}

func (c *keyCheck) reportFound(out io.Writer) error {
	var destroyed, other, missing int
	var newest uint64
	for _, user := range slices.SortedFunc(maps.Keys(c.faults), c.byPosition) {
		var line string
		switch fault := c.faults[user]; {
		case errors.Is(fault.Err, vault.ErrErased):
			destroyed++
			continue
		case errors.Is(fault.Err, vault.ErrTampered):
			other++
			line = fmt.Sprintf("%s has another key than that with which %s was sealed.", user, fault.Ref)
		default:
			missing, newest = missing+1, fault.position
			line = fmt.Sprintf("%s, who came with event %d, has no key.", user, fault.position)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	people := func(n int) string { return wording.Counted(n, "person", "people") }
	const follows = "they cannot log in, or what they told and wrote cannot be read"
	switch {
	case missing > 0:
		return fmt.Errorf("the log is right, but %s has no key for %s of %d who are not erased: %s. It is older than the "+
			"log, or of another: bring back a copy from after event %d, or erase them where there is none (docs/operator.md)",
			c.place, people(missing), c.people, follows, newest)
	case other > 0:
		return fmt.Errorf("the log is right, but %s has another key for %s of %d who are not erased: %s. An older program "+
			"made it where the first was lost: bring back a copy that has the first, or erase them where there is none "+
			"(docs/operator.md)", c.place, people(other), c.people, follows)
	}
	return c.reportRight(out, destroyed)
}

func (c *keyCheck) reportRight(out io.Writer, destroyed int) error {
	opens := "Each opens all that was sealed with it."
	if c.notTried != "" {
		opens = fmt.Sprintf("Whether each opens what was sealed with it, nobody has tried: %s.", c.notTried)
	}
	if destroyed > 0 {
		opens += fmt.Sprintf(" Of %s more the keys were destroyed, though this log does not say that they are erased: it "+
			"ends before that.", wording.Counted(destroyed, "person", "people"))
	}
	_, err := fmt.Fprintf(out, "The vault has the %s of all who are not erased. %s\n",
		wording.Counted(c.people-destroyed, "key", "keys"), opens)
	return err
}

func (c *keyCheck) byPosition(a, b string) int {
	return cmp.Or(cmp.Compare(c.faults[a].position, c.faults[b].position), cmp.Compare(a, b))
}

package vault

import (
	"context"
	"fmt"

	"truebond/events"
)

// A Checker tells whether a store has the keys of texts, and whether those open them. It changes nothing.
type Checker struct {
	store Reader
	ring  *ring // nil: it only looks whether keys are there
}

// NewChecker makes a checker of a store that stays as it is meanwhile. Without a secret it only looks whether keys
// are there.
//
// Errors: ErrNoVault, ErrSecret, or what the store says.
func NewChecker(ctx context.Context, store Reader, secret string) (*Checker, error) {
	if secret == "" {
		return &Checker{store: store}, nil
	}
	_, record, err := store.Keys(ctx, nil)
	if err == nil && record == nil {
		err = ErrNoVault
	}
	if err != nil {
		return nil, fmt.Errorf("check the vault: %w", err)
	}
	opened, _, err := unlock(record, secret)
	if err != nil {
		return nil, fmt.Errorf("check the vault: %w", err)
	}
	return &Checker{store, &opened}, nil
}

// Unread is why a text cannot be read: ErrErased, ErrKeyMissing, or ErrOtherKey with ErrTampered.
type Unread struct {
	Ref string // of the text
	Err error
}

// Check tells of the owners of texts whose first text cannot be read.
func (c *Checker) Check(ctx context.Context, texts []events.Sealed) (map[string]Unread, error) {
	byOwner := map[string][]events.Sealed{}
	var owners []string
	for _, s := range texts {
		if byOwner[s.Owner] == nil {
			owners = append(owners, s.Owner)
		}
		byOwner[s.Owner] = append(byOwner[s.Owner], s)
	}
	unread := map[string]Unread{}
	err := eachKey(ctx, c.store, owners, func(owner string, k *Key) {
		if first := c.firstUnread(k, byOwner[owner]); first.Err != nil {
			unread[owner] = first
		}
	})
	return unread, err
}

// firstUnread is the first of its owner's texts that a key, nil if there is none, does not open.
func (c *Checker) firstUnread(k *Key, texts []events.Sealed) Unread {
	switch {
	case k == nil:
		return Unread{texts[0].Ref, ErrKeyMissing}
	case k.Erased:
		return Unread{texts[0].Ref, ErrErased}
	case c.ring == nil:
		return Unread{}
	}
	key, err := c.ring.unwrap(*k)
	if err != nil {
		return Unread{texts[0].Ref, fmt.Errorf("%w: %w", ErrOtherKey, err)}
	}
	for _, s := range texts {
		if _, err := open(key, s); err != nil {
			return Unread{s.Ref, err}
		}
	}
	return Unread{}
}

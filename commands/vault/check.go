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

// Check tells whose texts, of those who are not erased, cannot be read, and why: ErrKeyMissing, or
// ErrOtherKey with ErrTampered.
func (c *Checker) Check(ctx context.Context, texts []events.Sealed) (map[string]error, error) {
	byOwner := map[string][]events.Sealed{}
	var owners []string
	for _, s := range texts {
		if byOwner[s.Owner] == nil {
			owners = append(owners, s.Owner)
		}
		byOwner[s.Owner] = append(byOwner[s.Owner], s)
	}
	why := map[string]error{}
	err := eachKey(ctx, c.store, owners, func(owner string, k *Key) {
		if err := c.opens(k, byOwner[owner]); err != nil {
			why[owner] = err
		}
	})
	return why, err
}

// opens fails when a key, nil if there is none, does not open its owner's texts.
func (c *Checker) opens(k *Key, texts []events.Sealed) error {
	switch {
	case k == nil:
		return ErrKeyMissing
	case k.Erased || c.ring == nil:
		return nil
	}
	key, err := c.ring.unwrap(*k)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOtherKey, err)
	}
	for _, s := range texts {
		if _, err := open(key, s); err != nil {
			return err
		}
	}
	return nil
}

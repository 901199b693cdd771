package vault

import (
	"context"
	"errors"
	"fmt"
)

// pageKeys is how many keys are read, or wrapped anew, at once.
const pageKeys = 1000

// Rotate wraps all keys anew under a new secret. From one moment on the new secret opens
// everything and the old one nothing; before it, it is the other way round. What an
// interruption leaves is ended by the next Open. The keys themselves stay the same, so
// what was sealed is still read and hashes stay the same.
//
// Once it returns, copies of the vault from before are of no use without the old secret.
// Other processes with the old secret get ErrRotated. After an error, open it again.
func (v *Vault) Rotate(ctx context.Context, secret string) error {
	if secret == "" {
		return errors.New("rotate the vault: the new secret is empty")
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	if err := v.rotate(ctx, secret); err != nil {
		return fmt.Errorf("rotate the vault: %w", err)
	}
	return nil
}

func (v *Vault) rotate(ctx context.Context, secret string) error {
	if err := v.adopt(ctx); err != nil {
		return err
	}
	if err := v.tryAll(ctx); err != nil {
		return err
	}
	record, err := newRoot(secret, v.ring.generation+1, v.own, &v.ring)
	if err != nil {
		return err
	}
	after, _, err := unlock(record, secret)
	if err != nil {
		return err
	}
	swapped, err := v.store.SwapRoot(ctx, v.ring.record, record)
	if err != nil {
		return err
	}
	if !swapped {
		return ErrRotated
	}
	v.ring = after
	return v.finishRotation(ctx)
}

// tryAll opens every key once, since a rotation must not begin that cannot end.
func (v *Vault) tryAll(ctx context.Context) error {
	return v.eachPage(ctx, func(page []Key) error {
		for _, k := range page {
			if v.ring.wrapping(k) == nil {
				continue
			}
			if _, err := v.ring.unwrapBytes(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// finishRotation wraps what is still wrapped with the previous key, then drops that.
//
// A key under a generation that is gone is left as it is: a process with an old secret
// has added it too late, has noticed, and has sealed nothing with it.
func (v *Vault) finishRotation(ctx context.Context) error {
	err := v.eachPage(ctx, func(page []Key) error {
		var changes []Rewrap
		for _, k := range page {
			if generationOf(k) == v.ring.generation || v.ring.wrapping(k) == nil {
				continue
			}
			key, err := v.ring.unwrapBytes(k)
			if err != nil {
				return err
			}
			changes = append(changes, Rewrap{k.Owner, k.Wrapped, v.ring.wrap(k.Owner, key)})
		}
		if len(changes) == 0 {
			return nil
		}
		return v.store.Rewrap(ctx, changes)
	})
	if err != nil {
		return err
	}
	record, err := withoutPrevious(v.ring.record)
	if err != nil {
		return err
	}
	// Not swapped: another process has ended the rotation as well, or begun a next one,
	// which the next look into the store will tell.
	if _, err := v.store.SwapRoot(ctx, v.ring.record, record); err != nil {
		return err
	}
	v.ring.record, v.ring.previous = record, nil
	return nil
}

// eachPage goes through all keys that are not erased.
func (v *Vault) eachPage(ctx context.Context, do func([]Key) error) error {
	after := ""
	for {
		page, err := v.store.Page(ctx, after, pageKeys)
		if err != nil {
			return fmt.Errorf("read the keys behind %q: %w", after, err)
		}
		if len(page) == 0 {
			return nil
		}
		if err := do(page); err != nil {
			return err
		}
		after = page[len(page)-1].Owner
	}
}

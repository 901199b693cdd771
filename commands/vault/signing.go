package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNoSigningKey says that the vault has no key for checkpoints, although some were
// signed: it is older than they are.
var ErrNoSigningKey = errors.New("checkpoints of the log were signed, but the vault lacks the key: " +
	"bring back the vault that belongs to the log")

// SigningKey is the seed of the Ed25519 key that signs the log's checkpoints, of 32 bytes.
// It is the same on all nodes that share the vault, and for ever: it says which log this
// is. Where there is none it is made, unless checkpoints were signed already.
//
// Errors: ErrNoSigningKey, ErrRotated, or what the store says.
func (v *Vault) SigningKey(ctx context.Context, signedBefore bool) ([]byte, error) {
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	for v.own.signingKey == nil {
		if err := v.adopt(ctx); err != nil {
			return nil, fmt.Errorf("read the key that signs checkpoints: %w", err)
		}
		if v.own.signingKey != nil {
			break
		}
		if signedBefore {
			return nil, ErrNoSigningKey
		}
		if err := v.makeSigningKey(ctx); err != nil {
			return nil, fmt.Errorf("make the key that signs checkpoints: %w", err)
		}
	}
	return v.own.signingKey, nil
}

// adopt takes the root as another node may have left it, under the same secret.
func (v *Vault) adopt(ctx context.Context) error {
	_, record, err := v.store.Keys(ctx, nil)
	if err != nil {
		return err
	}
	if err := v.ring.checkCurrent(record); err != nil {
		return err
	}
	now, err := readRoot(record)
	if err != nil {
		return err
	}
	if v.own.signingKey, err = v.ring.signingKey(now); err != nil {
		return err
	}
	v.ring.record = record
	return nil
}

// makeSigningKey puts a new key into the root, unless another node is faster.
func (v *Vault) makeSigningKey(ctx context.Context) error {
	now, err := readRoot(v.ring.record)
	if err != nil {
		return err
	}
	key := randomBytes(keyBytes)
	now.SigningKey = v.ring.current.Seal(nil, nil, key, about("signing", now.Generation, ""))
	after, err := json.Marshal(now)
	if err != nil {
		return err
	}
	swapped, err := v.store.SwapRoot(ctx, v.ring.record, after)
	if err == nil && swapped {
		v.own.signingKey, v.ring.record = key, after
	}
	return err
}

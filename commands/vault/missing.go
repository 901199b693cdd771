package vault

import (
	"context"
	"fmt"
	"slices"
)

// WithoutKey are those owners who have neither key nor tombstone: their part of the vault is lost.
func WithoutKey(ctx context.Context, store Reader, owners []string) (without []string, err error) {
	err = eachKey(ctx, store, owners, func(owner string, k *Key) {
		if k == nil {
			without = append(without, owner)
		}
	})
	return without, err
}

// eachKey looks for owners' keys and tombstones, and yields nil for those who have neither.
func eachKey(ctx context.Context, store Reader, owners []string, yield func(owner string, k *Key)) error {
	for page := range slices.Chunk(owners, pageKeys) {
		keys, _, err := store.Keys(ctx, page)
		if err != nil {
			return fmt.Errorf("look for %d keys: %w", len(page), err)
		}
		byOwner := make(map[string]*Key, len(keys))
		for i, k := range keys {
			byOwner[k.Owner] = &keys[i]
		}
		for _, owner := range page {
			yield(owner, byOwner[owner])
		}
	}
	return nil
}

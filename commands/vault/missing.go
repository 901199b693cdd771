package vault

import (
	"context"
	"fmt"
	"slices"
)

// WithoutKey are those owners who have neither key nor tombstone: their part of the vault is lost.
func WithoutKey(ctx context.Context, store Reader, owners []string) ([]string, error) {
	var without []string
	for page := range slices.Chunk(owners, pageKeys) {
		keys, _, err := store.Keys(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("look for %d keys: %w", len(page), err)
		}
		known := make(map[string]bool, len(keys))
		for _, k := range keys {
			known[k.Owner] = true
		}
		for _, owner := range page {
			if !known[owner] {
				without = append(without, owner)
			}
		}
	}
	return without, nil
}

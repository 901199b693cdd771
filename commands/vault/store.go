package vault

import "context"

// A Store is where wrapped keys are kept, outside the log and its views. It knows
// nothing of their insides. SQLite and MongoDB stand behind it.
//
// A write is durable before it returns, and what it has written is found by every later
// read, of other processes too.
type Store interface {
	Reader
	// AddKey puts an owner's wrapped key, unless there is one or a tombstone.
	AddKey(ctx context.Context, owner string, wrapped []byte) error
	// Destroy overwrites an owner's key with a tombstone that stays for ever, also where
	// there was no key. It may be asked again.
	Destroy(ctx context.Context, owner string) error
	// SwapRoot replaces the vault's own record if it is still old (nil: not there).
	SwapRoot(ctx context.Context, old, after []byte) (swapped bool, err error)
	// Page finds up to limit keys, tombstones left out, behind an owner and in their order.
	Page(ctx context.Context, after string, limit int) ([]Key, error)
	// Rewrap replaces keys that are still as they were; the others stay as they are.
	Rewrap(ctx context.Context, changes []Rewrap) error
}

// A Reader finds what is in a store.
type Reader interface {
	// Keys finds owners' keys and tombstones, those that are not there left out, and
	// the root as it is at that moment, nil if there is none.
	Keys(ctx context.Context, owners []string) (keys []Key, root []byte, err error)
}

// A Key is an owner's wrapped key, or the tombstone that it has left.
type Key struct {
	Owner   string
	Wrapped []byte // nil for a tombstone
	Erased  bool   // it is a tombstone
}

// A Rewrap is a key in its old wrapping and in its new one, of the same length.
type Rewrap struct {
	Owner string
	Old   []byte
	New   []byte
}

// Package vault keeps the keys that personal text in the log is sealed with: one for
// each owner, outside the log, so that destroying it makes the text unreadable
// wherever it was copied to.
package vault

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"

	"truebond/events"
	"truebond/ledger"
)

// Why the vault says no.
var (
	// ErrErased says that the owner's key was destroyed. Their text is gone for good.
	ErrErased = ledger.Refuse("erased", "This person's data has been erased.")
	// ErrKeyMissing says that an owner has neither key nor tombstone. Nothing is read, and nothing is
	// sealed with a new key: the vault is older than the log, and the right one may come back.
	ErrKeyMissing = ledger.Refuse("key_missing",
		"The key to this person's text is missing, and nobody has erased it. An operator has to bring it back.")
	// ErrOtherKey says that a key is there, and not the one that opens the text, or cannot be used itself: the vault
	// is not the log's, or is damaged. To who asks it is as missing.
	ErrOtherKey = ledger.Refuse("key_missing",
		"The key to this person's text is missing: what is in its place does not open it. An operator has to look.")
	// ErrTampered says that a text or a key is not what was once sealed, or not there.
	ErrTampered = errors.New("what is sealed was changed, or moved from its place")
	// ErrSecret says that JWT_SECRET is not the one that the vault is wrapped with.
	ErrSecret = errors.New("JWT_SECRET does not open the vault; if it was rotated, take the new one")
	// ErrRotated says that the vault was wrapped anew by somebody else: start again,
	// with the new secret.
	ErrRotated = errors.New("the vault was wrapped anew under another secret; restart with that")
	// ErrDamaged says that the vault's file is not as it was written, or that the disk cannot read it.
	ErrDamaged = errors.New("the vault's file is damaged: stop the server, and bring back a copy of it")
	// ErrNoVault says that there is a log, but not the vault that belongs to it.
	ErrNoVault = errors.New("the log is not empty, but its vault is: bring back the vault that belongs to it")
)

// Erased is what is read instead of the text of an erased owner.
const Erased = "erased"

// A Vault seals and opens personal text. It may be used by many goroutines, and its
// store by many processes.
type Vault struct {
	store Store
	cache *cache
	own   secrets   // the signing key under wrapping
	macs  sync.Pool // of HMACs under own's key: making one takes as long as hashing with it

	wrapping sync.RWMutex // held while keys are read or made; alone while they are wrapped anew
	ring     ring
}

// An Option changes how a vault is used.
type Option func(*Vault)

// Uncached asks the store for each key: another process's erasure is noticed at once.
func Uncached() Option { return func(v *Vault) { v.cache.keeps = false } }

// Open opens the vault in a store with JWT_SECRET. For an empty log it makes a vault
// where there is none. It ends a rotation that was interrupted.
//
// Errors: ErrNoVault, ErrSecret, or what the store says.
func Open(ctx context.Context, store Store, secret string, logEmpty bool, options ...Option,
) (*Vault, error) {
	if secret == "" {
		return nil, errors.New("open the vault: the secret is empty")
	}
	_, record, err := store.Keys(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("open the vault: %w", err)
	}
	if record == nil {
		if !logEmpty {
			return nil, fmt.Errorf("open the vault: %w", ErrNoVault)
		}
		if record, err = found(ctx, store, secret); err != nil {
			return nil, fmt.Errorf("make the vault: %w", err)
		}
	}
	v := &Vault{store: store, cache: newCache()}
	for _, option := range options {
		option(v)
	}
	if v.ring, v.own, err = unlock(record, secret); err != nil {
		return nil, fmt.Errorf("open the vault: %w", err)
	}
	if v.ring.previous != nil {
		if err := v.finishRotation(ctx); err != nil {
			return nil, fmt.Errorf("end an interrupted rotation: %w", err)
		}
	}
	return v, nil
}

// found makes a new vault, or reads the one that another process has just made.
func found(ctx context.Context, store Store, secret string) ([]byte, error) {
	record, err := newRoot(secret, 1, secrets{hmacKey: randomBytes(keyBytes)}, nil)
	if err != nil {
		return nil, err
	}
	swapped, err := store.SwapRoot(ctx, nil, record)
	if err != nil || swapped {
		return record, err
	}
	_, record, err = store.Keys(ctx, nil)
	if err == nil && record == nil {
		err = ErrNoVault
	}
	return record, err
}

// MakeKey makes the key of somebody who is new here. It is durable before MakeKey returns. Of several who
// make a key for one owner at once the first wins, and a key that is there stays.
//
// Errors: ErrErased, ErrRotated, or what the store says.
func (v *Vault) MakeKey(ctx context.Context, owner string) error {
	if owner == "" {
		return errors.New("make a key: it has no owner")
	}
	if err := v.addKey(ctx, owner); err != nil {
		return fmt.Errorf("make the key of %s: %w", owner, err)
	}
	key, err := v.key(ctx, owner)
	if err == nil && key == nil {
		err = ErrErased
	}
	if err != nil {
		return fmt.Errorf("read back the key of %s: %w", owner, err)
	}
	return nil
}

func (v *Vault) addKey(ctx context.Context, owner string) error {
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	if _, err := v.stored(ctx, nil); err != nil { // one under a secret that is gone would stay, and be of no use
		return err
	}
	return ledger.Unavailable(ctx, v.store.AddKey(ctx, owner, v.ring.wrap(owner, randomBytes(keyBytes))))
}

// Seal seals a text for its place in an event, with the key that was made for its owner. Another
// process's erasure is noticed within cachedMax; until then the text is sealed with the destroyed key,
// and nobody will read it.
//
// Errors: ErrErased, ErrKeyMissing, ErrOtherKey, ErrRotated, or what the store says.
func (v *Vault) Seal(ctx context.Context, owner, eventKey, field, text string) (events.Sealed, error) {
	ref := events.SealedRef(eventKey, field)
	if owner == "" {
		return events.Sealed{}, fmt.Errorf("seal %s: it has no owner", ref)
	}
	key, err := v.key(ctx, owner)
	if err != nil {
		return events.Sealed{}, fmt.Errorf("seal %s: %w", ref, err)
	}
	if key == nil {
		return events.Sealed{}, fmt.Errorf("seal %s for %s: %w", ref, owner, ErrErased)
	}
	box := key.Seal(nil, nil, []byte(text), place(ref))
	return events.Sealed{Owner: owner, Ref: ref, Box: box}, nil
}

// Open reads a sealed text. Another process's erasure is noticed within cachedMax.
//
// Errors: ErrErased, ErrKeyMissing, ErrOtherKey (with ErrTampered), ErrRotated, or what the store says.
func (v *Vault) Open(ctx context.Context, s events.Sealed) (string, error) {
	key, err := v.key(ctx, s.Owner)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", s.Ref, err)
	}
	return open(key, s)
}

// Text is what people are shown: the text, or Erased.
//
// Errors: as Open, without ErrErased.
func (v *Vault) Text(ctx context.Context, s events.Sealed) (string, error) {
	text, err := v.Open(ctx, s)
	if errors.Is(err, ErrErased) {
		return Erased, nil
	}
	return text, err
}

// Texts is Text for many, in their order, with one look into the store. What is not sealed is empty.
func (v *Vault) Texts(ctx context.Context, sealed []events.Sealed) ([]string, error) {
	keys := map[string]cipher.AEAD{}
	var missing []string
	for _, s := range sealed {
		if _, known := keys[s.Owner]; known || len(s.Box) == 0 {
			continue
		}
		key, cached := v.cache.get(s.Owner)
		if !cached {
			missing = append(missing, s.Owner)
		}
		keys[s.Owner] = key
	}
	if len(missing) > 0 {
		loaded, err := v.load(ctx, missing)
		if err != nil {
			return nil, fmt.Errorf("open %d texts: %w", len(sealed), err)
		}
		maps.Copy(keys, loaded)
	}
	texts := make([]string, len(sealed))
	for i, s := range sealed {
		if len(s.Box) == 0 {
			continue
		}
		text, err := open(keys[s.Owner], s)
		if errors.Is(err, ErrErased) {
			text, err = Erased, nil
		}
		if err != nil {
			return nil, err
		}
		texts[i] = text
	}
	return texts, nil
}

// Erase destroys an owner's key and leaves a tombstone, also for one who has no key yet.
// It may be asked again, and should be after an error.
func (v *Vault) Erase(ctx context.Context, owner string) error {
	if owner == "" {
		return errors.New("erase: there is no owner")
	}
	err := v.store.Destroy(ctx, owner)
	v.cache.erase(owner, err == nil)
	if err != nil {
		return fmt.Errorf("erase %s: %w", owner, ledger.Unavailable(ctx, err))
	}
	return nil
}

// FinishErasures destroys the keys of those owners who still have one: what a crash left
// behind, or a restored vault brought back. A tombstone that is there is left as it is.
func (v *Vault) FinishErasures(ctx context.Context, owners []string) error {
	stored, err := v.stored(ctx, owners)
	if err != nil {
		return err
	}
	for _, owner := range owners {
		if k, known := stored[owner]; known && k.Erased {
			continue
		}
		if err := v.Erase(ctx, owner); err != nil {
			return err
		}
	}
	return nil
}

// key is load for one owner, whose key may be at hand.
func (v *Vault) key(ctx context.Context, owner string) (cipher.AEAD, error) {
	if key, cached := v.cache.get(owner); cached {
		return key, nil
	}
	keys, err := v.load(ctx, []string{owner})
	return keys[owner], err
}

// load reads owners' keys from the store, nil for the erased ones. They are read together with the root,
// so that no key is used that a rotation under way might not see.
func (v *Vault) load(ctx context.Context, owners []string) (map[string]cipher.AEAD, error) {
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	asOf := v.cache.erasuresSeen()
	wrapped, err := v.stored(ctx, owners)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]cipher.AEAD, len(owners))
	for _, owner := range owners {
		key, exists := wrapped[owner]
		if !exists {
			return nil, fmt.Errorf("%s: %w", owner, ErrKeyMissing)
		}
		var opened cipher.AEAD
		if !key.Erased {
			if opened, err = v.ring.unwrap(key); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrOtherKey, err)
			}
		}
		keys[owner] = opened
		v.cache.put(owner, opened, asOf)
	}
	return keys, nil
}

// stored reads owners' wrapped keys, provided that our secret is still the vault's.
func (v *Vault) stored(ctx context.Context, owners []string) (map[string]Key, error) {
	keys, record, err := v.store.Keys(ctx, owners)
	if err != nil {
		return nil, fmt.Errorf("read %d keys: %w", len(owners), ledger.Unavailable(ctx, err))
	}
	if err := v.ring.checkCurrent(record); err != nil {
		return nil, err
	}
	byOwner := make(map[string]Key, len(keys))
	for _, k := range keys {
		byOwner[k.Owner] = k
	}
	return byOwner, nil
}

// open opens a text with its owner's key, nil if that was destroyed.
func open(key cipher.AEAD, s events.Sealed) (string, error) {
	if key == nil {
		return "", fmt.Errorf("open %s of %s: %w", s.Ref, s.Owner, ErrErased)
	}
	text, err := key.Open(nil, nil, s.Box, place(s.Ref))
	if err != nil {
		return "", fmt.Errorf("open %s of %s: %w: %w", s.Ref, s.Owner, ErrOtherKey, ErrTampered)
	}
	return string(text), nil
}

// place is a text's associated data: the stream that it is in, and where there.
func place(ref string) []byte { return []byte("truebond/EVENTS/" + ref) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the process would have ended
	return b
}

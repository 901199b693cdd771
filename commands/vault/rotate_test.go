package vault

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"truebond/events"
	"truebond/ledger"
)

func TestARotationChangesTheSecretAndNothingElse(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		was := full(t, v)
		must(t, v.Rotate(ctx(t), newSecret))
		was.isStillThereIn(t, v)
		was.isStillThereIn(t, opened(t, h, newSecret))
		if _, err := Open(ctx(t), h(t), secret, false); !errors.Is(err, ErrSecret) {
			t.Fatalf("the old secret: %v", err)
		}
		must(t, v.Rotate(ctx(t), secret)) // and back
		was.isStillThereIn(t, opened(t, h, secret))
	})
}

// A copy of the vault and the old secret open what was in the copy, but nothing later.
func TestARotationLeavesNothingUnderTheOldSecret(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		full(t, v)
		old := v.ring
		must(t, v.Rotate(ctx(t), newSecret))
		keys, err := v.store.Page(ctx(t), "", pageKeys)
		must(t, err)
		if len(keys) != 2 {
			t.Fatalf("%d keys are left of 2", len(keys))
		}
		for _, k := range keys {
			if _, err := old.unwrapBytes(k); err == nil {
				t.Fatalf("the old secret opens the key of %s", k.Owner)
			}
		}
		if v.ring.previous != nil {
			t.Fatal("the old wrapping key is kept")
		}
	})
}

func TestARotationThatIsCutOffAnywhereLosesNothing(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(fmt.Sprintf("last write done: %v", written), func(t *testing.T) {
			onBothStores(t, func(t *testing.T, h home) {
				now, next := secret, newSecret
				was := full(t, opened(t, h, now))
				cuts := 0
				for ended := false; !ended; cuts++ {
					cut := &cutOff{Store: h(t), writes: cuts, written: written}
					v, err := Open(ctx(t), cut, now, false)
					must(t, err)
					cut.armed = true
					ended = v.Rotate(ctx(t), next) == nil

					// One of the two secrets opens all, the other nothing.
					after, err := Open(ctx(t), h(t), next, false)
					if err != nil {
						isSecret(t, err)
						was.isStillThereIn(t, opened(t, h, now))
						continue
					}
					_, err = Open(ctx(t), h(t), now, false)
					isSecret(t, err)
					was.isStillThereIn(t, after)
					nothingIsUnderAnother(t, after)
					now, next = next, now
				}
				if cuts != 4 {
					t.Fatalf("a rotation has %d writes, not the root, the keys, and the root again", cuts-1)
				}
			})
		})
	}
}

func TestAProcessWithTheOldSecretNoticesARotation(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v, late := opened(t, h, secret), opened(t, h, secret)
		was := full(t, v)
		must(t, v.Rotate(ctx(t), newSecret))
		for _, owner := range []string{"ann", "somebody new"} {
			if _, err := late.Seal(ctx(t), owner, "msg/9", "body", "x"); !errors.Is(err, ErrRotated) {
				t.Fatalf("sealed for %s: %v", owner, err)
			}
		}
		if err := late.MakeKey(ctx(t), "somebody new"); !errors.Is(err, ErrRotated) {
			t.Fatalf("a key was made: %v", err)
		}
		if keys, _, err := v.store.Keys(ctx(t), []string{"somebody new"}); err != nil || len(keys) > 0 {
			t.Fatalf("a key that nobody can use was left: %v (%v)", keys, err)
		}
		isRefused(t, late, was.texts["hello"], ErrRotated)
		if err := late.Rotate(ctx(t), "a third secret"); !errors.Is(err, ErrRotated) {
			t.Fatalf("rotated: %v", err)
		}
		was.isStillThereIn(t, opened(t, h, newSecret))
	})
}

// Its key comes too late to be wrapped anew: nothing must be sealed with it.
func TestAKeyMadeWhileTheVaultIsRotatedIsNotUsed(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		late, v := opened(t, h, secret), opened(t, h, secret)
		late.store = &between{Store: late.store, beforeAddKey: func() { must(t, v.Rotate(ctx(t), newSecret)) }}
		if err := late.MakeKey(ctx(t), "ann"); !errors.Is(err, ErrRotated) {
			t.Fatalf("made: %v", err)
		}
		must(t, v.Rotate(ctx(t), secret)) // and it does not stand in the way of the next
	})
}

func TestARotationDoesNotBeginIfAKeyIsBroken(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		was := full(t, v)
		broken := v.ring.wrap("another", randomBytes(keyBytes))
		must(t, v.store.AddKey(ctx(t), "broken", broken))
		if err := v.Rotate(ctx(t), newSecret); !errors.Is(err, ErrTampered) {
			t.Fatalf("rotated: %v", err)
		}
		was.isStillThereIn(t, opened(t, h, secret))
	})
}

func TestAnErasureDuringARotationStays(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		was := full(t, v)
		v.store = &erasing{v.store, "ann"}
		must(t, v.Rotate(ctx(t), newSecret))
		isRefused(t, opened(t, h, newSecret), was.texts["hello"], ErrErased)
	})
}

// A content is what a vault must keep through everything.
type content struct {
	texts map[string]events.Sealed
	gone  events.Sealed
	hash  string
}

func full(t *testing.T, v *Vault) content {
	t.Helper()
	c := content{
		texts: map[string]events.Sealed{
			"hello": sealed(t, v, "ann", "msg/1", "hello"),
			"hi":    sealed(t, v, "bob", "msg/2", "hi"),
		},
		gone: sealed(t, v, "eve", "msg/3", "gone"),
		hash: v.Hash(ledger.PurposeEmail, "ann@example.com"),
	}
	must(t, v.Erase(ctx(t), "eve"))
	v.cache = newCache()
	return c
}

func (c content) isStillThereIn(t *testing.T, v *Vault) {
	t.Helper()
	v.cache = newCache()
	for text, s := range c.texts {
		isReadAs(t, v, s, text)
	}
	isRefused(t, v, c.gone, ErrErased)
	if hash := v.Hash(ledger.PurposeEmail, "ann@example.com"); hash != c.hash {
		t.Fatalf("the hash was %s and is %s", c.hash, hash)
	}
}

func nothingIsUnderAnother(t *testing.T, v *Vault) {
	t.Helper()
	keys, err := v.store.Page(ctx(t), "", pageKeys)
	must(t, err)
	for _, k := range keys {
		if generationOf(k) != v.ring.generation {
			t.Fatalf("%s is still under the secret before", k.Owner)
		}
	}
	_, record, err := v.store.Keys(ctx(t), nil)
	must(t, err)
	if done, err := withoutPrevious(record); err != nil || string(done) != string(record) {
		t.Fatalf("the wrapping key before is kept: %v", err)
	}
}

func isSecret(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrSecret) {
		t.Fatalf("want %v, got %v", ErrSecret, err)
	}
}

// cutOff fails once it has done some writes: before the next one, or after it, when its
// answer is lost.
type cutOff struct {
	Store
	armed   bool
	writes  int
	written bool
}

var errCutOff = errors.New("the store does not answer")

func (c *cutOff) SwapRoot(ctx context.Context, old, after []byte) (swapped bool, err error) {
	err = c.write(func() error {
		swapped, err = c.Store.SwapRoot(ctx, old, after)
		return err
	})
	return swapped, err
}

func (c *cutOff) Rewrap(ctx context.Context, changes []Rewrap) error {
	return c.write(func() error { return c.Store.Rewrap(ctx, changes) })
}

func (c *cutOff) write(do func() error) error {
	if !c.armed || c.writes > 0 {
		c.writes--
		return do()
	}
	if c.written {
		if err := do(); err != nil {
			return err
		}
	}
	return errCutOff
}

// erasing destroys a key just before keys are wrapped anew.
type erasing struct {
	Store
	owner string
}

func (e *erasing) Rewrap(ctx context.Context, changes []Rewrap) error {
	if err := e.Destroy(ctx, e.owner); err != nil {
		return err
	}
	return e.Store.Rewrap(ctx, changes)
}

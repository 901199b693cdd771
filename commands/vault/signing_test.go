package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTheSigningKeyIsMadeOnceAndForAllWhoShareTheVault(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		const nodes = 5
		vaults := make([]*Vault, nodes)
		for i := range vaults {
			vaults[i] = opened(t, h, secret)
		}
		keys := make([][]byte, nodes)
		allAtOnce(nodes, func(i int) {
			var err error
			if keys[i], err = vaults[i].SigningKey(ctx(t), false); err != nil {
				t.Error(err)
			}
		})
		for _, k := range keys {
			if len(k) != keyBytes || !bytes.Equal(k, keys[0]) {
				t.Fatalf("the keys differ: %x and %x", k, keys[0])
			}
		}
		isSigningKey(t, opened(t, h, secret), keys[0])
	})
}

func TestTheSigningKeyStaysWhenTheVaultIsRotated(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		rotating := opened(t, h, secret) // before another node makes the key
		key, err := opened(t, h, secret).SigningKey(ctx(t), false)
		must(t, err)
		must(t, rotating.Rotate(ctx(t), newSecret))
		isSigningKey(t, rotating, key)
		isSigningKey(t, opened(t, h, newSecret), key)
		_, record, err := rotating.store.Keys(ctx(t), nil)
		must(t, err)
		if bytes.Contains(record, key) {
			t.Fatal("the vault has the key unwrapped")
		}
	})
}

// A vault from before there were checkpoints gets its key at the first start after that.
// One that is older than the checkpoints does not.
func TestAnOldVaultGetsNoOtherKeyThanCheckpointsWereSignedWith(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		if _, err := v.SigningKey(ctx(t), true); !errors.Is(err, ErrNoSigningKey) {
			t.Fatalf("a vault without the key: %v", err)
		}
		key, err := v.SigningKey(ctx(t), false)
		must(t, err)
		isSigningKey(t, opened(t, h, secret), key)
	})
}

func isSigningKey(t *testing.T, v *Vault, want []byte) {
	t.Helper()
	got, err := v.SigningKey(ctx(t), true)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("the signing key is %x and was %x", got, want)
	}
}

// What a newer program has put into the root would be lost with the next rotation.
func TestARootOfANewerProgramIsLeftAlone(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		old := v.ring.record
		newer := append(bytes.TrimSuffix(old, []byte("}")), `,"of_tomorrow":"AA=="}`...)
		if swapped, err := v.store.SwapRoot(ctx(t), old, newer); err != nil || !swapped {
			t.Fatal(swapped, err)
		}
		if _, err := Open(ctx(t), h(t), secret, false); err == nil || !strings.Contains(err.Error(), "newer program") {
			t.Errorf("it is opened: %v", err)
		}
		if err := v.Rotate(ctx(t), newSecret); err == nil {
			t.Error("it is rotated")
		}
		if _, record, err := v.store.Keys(ctx(t), nil); err != nil || !bytes.Equal(record, newer) {
			t.Errorf("the root is %s now: %v", record, err)
		}
	})
}

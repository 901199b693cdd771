package vault

import (
	"errors"
	"fmt"
	"testing"

	"truebond/events"
)

func TestAKeyThatIsMissingWithoutATombstoneIsNoErasure(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		s := sealed(t, v, "ann", "msg/1", "hello")
		s.Owner = "lost"
		isRefused(t, v, s, ErrKeyMissing)
		if _, err := v.Text(ctx(t), s); !errors.Is(err, ErrKeyMissing) {
			t.Fatalf("shown as erased: %v", err)
		}
		if _, err := v.Texts(ctx(t), []events.Sealed{s}); !errors.Is(err, ErrKeyMissing) {
			t.Fatalf("shown as erased: %v", err)
		}
	})
}

// Beside an older vault a new key would let its owner go on, and never be read what the lost one has sealed.
func TestNothingIsSealedUnderAnotherKeyThanTheFirst(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		sealed(t, v, "bob", "msg/1", "hello")
		if _, err := v.Seal(ctx(t), "ann", "msg/2", "body", "x"); !errors.Is(err, ErrKeyMissing) {
			t.Fatalf("sealed for ann, whose key is lost: %v", err)
		}
		must(t, v.Erase(ctx(t), "eve"))
		without, err := WithoutKey(ctx(t), v.store, []string{"ann", "bob", "eve"})
		if err != nil || fmt.Sprint(without) != "[ann]" {
			t.Fatalf("%v have no key (%v)", without, err)
		}
	})
}

package vault

import (
	"errors"
	"slices"
	"testing"

	"truebond/events"
)

func TestAKeyIsCheckedByAllThatWasSealedWithIt(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		anns := []events.Sealed{sealed(t, v, "ann", "msg/1", "hello"), sealed(t, v, "ann", "msg/2", "bye")}
		bobs, eves := sealed(t, v, "bob", "msg/3", "hello"), sealed(t, v, "eve", "msg/4", "hello")
		lost := bobs
		lost.Owner = "lost"
		must(t, v.Erase(ctx(t), "eve"))
		all := append(slices.Clone(anns), bobs, eves)
		check := func(secret string, texts []events.Sealed, want map[string]error) {
			t.Helper()
			c, err := NewChecker(ctx(t), v.store, secret)
			if err != nil {
				t.Fatal(err)
			}
			why, err := c.Check(ctx(t), texts)
			if err != nil || len(why) != len(want) {
				t.Errorf("with the secret %q, it says %v: %v", secret, why, err)
			}
			for owner, err := range want {
				if !errors.Is(why[owner].Err, err) || owner == "ann" && why[owner].Ref != anns[1].Ref {
					t.Errorf("with the secret %q, it says of %s %v, and not %v", secret, owner, why[owner], err)
				}
			}
		}
		check(secret, nil, nil)
		check(secret, append(anns, bobs), nil)
		check(secret, append(all, lost), map[string]error{"lost": ErrKeyMissing, "eve": ErrErased})
		check("", append(all, lost), map[string]error{"lost": ErrKeyMissing, "eve": ErrErased})

		anns[1].Box = slices.Clone(bobs.Box) // as if sealed with another key
		check(secret, append(anns, bobs, lost), map[string]error{"ann": ErrTampered, "lost": ErrKeyMissing})
		check("", anns, nil)

		if _, err := NewChecker(ctx(t), v.store, "another"); !errors.Is(err, ErrSecret) {
			t.Errorf("another secret: %v", err)
		}
	})
}

package vault

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"truebond/events"
	"truebond/ledger"
)

const (
	secret    = "the first secret, long enough for all"
	newSecret = "the second secret, no less long than it"
)

func TestOnlyWhatWasSealedIsOpened(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		for _, text := range []string{"", "hello", "नमस्ते, 'Ann' <a@b.c>\x00"} {
			s := sealed(t, v, "ann", "msg/1", text)
			if s.Owner != "ann" || s.Ref != events.SealedRef("msg/1", "body") {
				t.Fatalf("sealed for another place: %+v", s)
			}
			isReadAs(t, v, s, text)
		}
		mine, other := sealed(t, v, "ann", "msg/1", "hello"), sealed(t, v, "bob", "msg/1", "hello")
		moved, stolen := mine, mine
		moved.Ref = events.SealedRef("msg/2", "body")
		stolen.Owner = other.Owner
		tampered := []events.Sealed{moved, stolen, {Owner: "ann", Ref: mine.Ref}}
		for bit := range len(mine.Box) * 8 {
			flipped := mine
			flipped.Box = append([]byte(nil), mine.Box...)
			flipped.Box[bit/8] ^= 1 << (bit % 8)
			tampered = append(tampered, flipped)
		}
		for _, s := range tampered {
			isRefused(t, v, s, ErrTampered)
			if _, err := v.Text(ctx(t), s); !errors.Is(err, ErrTampered) {
				t.Fatalf("shown as a text: %v", err)
			}
		}
	})
}

func TestTheSameTextNeverLooksTheSame(t *testing.T) {
	v := opened(t, onSQLite(t), secret)
	seen := map[string]bool{}
	for range 1000 {
		box := string(sealed(t, v, "ann", "msg/1", "hello").Box)
		if seen[box] {
			t.Fatal("a nonce came twice")
		}
		seen[box] = true
	}
}

func TestAnErasedOwnerIsGoneForGood(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		hers, his := sealed(t, v, "ann", "msg/1", "hello"), sealed(t, v, "bob", "msg/2", "hi")
		for range 2 { // it may be asked again
			must(t, v.Erase(ctx(t), "ann"))
		}
		must(t, v.Erase(ctx(t), "never seen"))
		for _, v := range []*Vault{v, opened(t, h, secret)} {
			isRefused(t, v, hers, ErrErased)
			isReadAs(t, v, his, "hi")
			for _, owner := range []string{"ann", "never seen"} {
				if err := v.MakeKey(ctx(t), owner); !errors.Is(err, ErrErased) {
					t.Fatalf("a key was made for %s, who is erased: %v", owner, err)
				}
				if _, err := v.Seal(ctx(t), owner, "msg/3", "body", "x"); !errors.Is(err, ErrErased) {
					t.Fatalf("sealed for %s, who is erased: %v", owner, err)
				}
			}
			if text, err := v.Text(ctx(t), hers); err != nil || text != "erased" {
				t.Fatalf("shown as %q: %v", text, err)
			}
			texts, err := v.Texts(ctx(t), []events.Sealed{his, {}, hers, his})
			if err != nil || fmt.Sprint(texts) != "[hi  erased hi]" {
				t.Fatalf("shown as %q: %v", texts, err)
			}
		}
	})
}

func TestARestartKeepsKeysAndHashes(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v := opened(t, h, secret)
		s, hash := sealed(t, v, "ann", "msg/1", "hello"), v.Hash(ledger.PurposeEmail, "ann@example.com")
		again := opened(t, h, secret)
		isReadAs(t, again, s, "hello")
		isReadAs(t, v, sealed(t, again, "ann", "msg/2", "more"), "more")
		if got := again.Hash(ledger.PurposeEmail, "ann@example.com"); got != hash {
			t.Fatalf("the hash was %s and is %s", hash, got)
		}
	})
}

func TestAVaultOpensWithItsSecretAndForItsLogAlone(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		refused := func(secret string, logEmpty bool, want error) {
			t.Helper()
			if _, err := Open(ctx(t), h(t), secret, logEmpty); !errors.Is(err, want) {
				t.Fatalf("want %v, got %v", want, err)
			}
		}
		refused(secret, false, ErrNoVault)
		must(t, h(t).Destroy(ctx(t), "ann")) // keys alone make no vault
		refused(secret, false, ErrNoVault)
		opened(t, h, secret)
		refused("another secret", true, ErrSecret)
		refused("another secret", false, ErrSecret)
		if _, err := Open(ctx(t), h(t), secret, false); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx(t), h(t), "", true); err == nil {
			t.Fatal("no secret opened it")
		}
	})
}

func TestAllWhoStartAtOnceShareOneVault(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		stores := []Store{h(t), h(t), h(t), h(t)}
		hashes := make([]string, len(stores))
		allAtOnce(len(stores), func(i int) {
			v, err := Open(context.Background(), stores[i], secret, true)
			if err != nil {
				t.Error(err)
				return
			}
			hashes[i] = v.Hash(ledger.PurposeEmail, "ann@example.com")
		})
		for _, hash := range hashes {
			if hash != hashes[0] {
				t.Fatalf("they hash differently: %v", hashes)
			}
		}
	})
}

func TestAllWhoMakeAnOwnersKeyAgreeOnOne(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		processes := []*Vault{opened(t, h, secret), opened(t, h, secret), opened(t, h, secret)}
		for round := range 5 {
			owner := fmt.Sprintf("ann %d", round)
			texts := make([]events.Sealed, 24)
			allAtOnce(len(texts), func(i int) {
				v := processes[i%3]
				err := v.MakeKey(context.Background(), owner)
				if err == nil {
					texts[i], err = v.Seal(context.Background(), owner, "msg/1", "body", "hello")
				}
				if err != nil {
					t.Error(err)
				}
			})
			fresh := opened(t, h, secret)
			for _, s := range texts {
				isReadAs(t, fresh, s, "hello")
			}
		}
	})
}

func TestAnErasureElsewhereIsNoticedInTime(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		here, elsewhere := opened(t, h, secret), opened(t, h, secret)
		now := time.Now()
		here.cache.now = func() time.Time { return now }
		s := sealed(t, here, "ann", "msg/1", "hello")
		must(t, elsewhere.Erase(ctx(t), "ann"))
		now = now.Add(cachedMax)
		isRefused(t, here, s, ErrErased)
		if _, err := here.Seal(ctx(t), "ann", "msg/2", "body", "x"); !errors.Is(err, ErrErased) {
			t.Fatalf("sealed with a destroyed key: %v", err)
		}
	})
}

func TestAnErasureWhileAKeyIsMadeWins(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		v, elsewhere := opened(t, h, secret), opened(t, h, secret)
		v.store = &between{Store: v.store, beforeAddKey: func() { must(t, elsewhere.Erase(ctx(t), "ann")) }}
		if err := v.MakeKey(ctx(t), "ann"); !errors.Is(err, ErrErased) {
			t.Fatalf("made: %v", err)
		}
	})
}

// A disk that is full takes no new keys, and goes on giving the others.
func TestAStoreThatFailsIsNobodysFault(t *testing.T) {
	onBothStores(t, func(t *testing.T, h home) {
		store := &failing{Store: h(t)}
		v, err := Open(ctx(t), store, "a secret", true, Uncached())
		must(t, err)
		s := sealed(t, v, "ann", "msg/1", "hello")
		store.writes = errors.New("no space left on device")
		isReadAs(t, v, s, "hello")
		if _, err := v.Seal(ctx(t), "ann", "msg/2", "body", "hello again"); err != nil {
			t.Errorf("who has a key is told %v", err)
		}
		if err := v.MakeKey(ctx(t), "bob"); !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("a new person is told %v", err)
		}
		if err := v.Erase(ctx(t), "ann"); !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("who erases is told %v", err)
		}
		store.reads = errors.New("input/output error")
		isRefused(t, v, s, ledger.ErrUnavailable)
	})
}

func TestHashesAreKeyedAndKeptApart(t *testing.T) {
	v, other := opened(t, onSQLite(t), secret), opened(t, onSQLite(t), secret)
	hashes := map[string]string{
		v.Hash(ledger.PurposeEmail, "a"): "", v.Hash(ledger.PurposeRefresh, "a"): "", v.Hash(ledger.PurposeEmail, "A"): "",
		v.Hash("emai", "la"): "", v.Hash(ledger.PurposeEmail, ""): "", other.Hash(ledger.PurposeEmail, "a"): "",
		string(v.HashBytes(ledger.PurposeRequest, []byte("ab"), []byte("c"))): "",
		string(v.HashBytes(ledger.PurposeRequest, []byte("a"), []byte("bc"))): "",
		string(v.HashBytes(ledger.PurposeRequest, []byte("abc"))):             "",
		string(v.HashBytes(ledger.PurposeRequest, []byte("abc"), nil)):        "",
	}
	if len(hashes) != 10 {
		t.Fatalf("only %d of 10 hashes differ", len(hashes))
	}
	if n := len(v.HashBytes(ledger.PurposeRequest, []byte("abc"))); n != 32 {
		t.Fatalf("a hash has %d bytes", n)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c := newCache()
	for i := range cachedKeys + 10 {
		c.put(fmt.Sprint(i), nil, 0)
		c.get("0") // used all the time
	}
	if len(c.byOwner) != cachedKeys || c.recent.Len() != cachedKeys {
		t.Fatalf("%d keys are kept", len(c.byOwner))
	}
	if _, cached := c.get("0"); !cached {
		t.Fatal("the one used last was forgotten")
	}
	if _, cached := c.get("1"); cached {
		t.Fatal("the one not used was kept")
	}
}

func TestAKeyReadBeforeAnErasureIsNotKeptAfterIt(t *testing.T) {
	v := opened(t, onSQLite(t), secret)
	s := sealed(t, v, "ann", "msg/1", "hello")
	slow := &between{Store: v.store}
	v.store, v.cache = slow, newCache()
	slow.afterKeys = func() { must(t, v.Erase(ctx(t), "ann")) }
	_, _ = v.Open(ctx(t), s)
	isRefused(t, v, s, ErrErased)
}

func BenchmarkSealWithACachedKey(b *testing.B) {
	store, err := OpenSQLite(filepath.Join(b.TempDir(), "vault.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close(b.Context()) })
	v, err := Open(b.Context(), store, secret, true)
	if err != nil {
		b.Fatal(err)
	}
	if err := v.MakeKey(b.Context(), "ann"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := v.Seal(b.Context(), "ann", "msg/1", "body", "Are you free on Friday night?"); err != nil {
			b.Fatal(err)
		}
	}
}

// between does something once: after keys were read and before they are used, or after a key was wrapped and
// before it is stored.
type between struct {
	Store
	afterKeys, beforeAddKey func()
}

func (b *between) AddKey(ctx context.Context, owner string, wrapped []byte) error {
	if do := b.beforeAddKey; do != nil {
		b.beforeAddKey = nil
		do()
	}
	return b.Store.AddKey(ctx, owner, wrapped)
}

func (b *between) Keys(ctx context.Context, owners []string) ([]Key, []byte, error) {
	keys, root, err := b.Store.Keys(ctx, owners)
	if do := b.afterKeys; do != nil {
		b.afterKeys = nil
		do()
	}
	return keys, root, err
}

// failing is a store whose disk takes nothing, or gives nothing.
type failing struct {
	Store
	writes, reads error
}

func (f *failing) Keys(ctx context.Context, owners []string) ([]Key, []byte, error) {
	if f.reads != nil {
		return nil, nil, f.reads
	}
	return f.Store.Keys(ctx, owners)
}

func (f *failing) AddKey(ctx context.Context, owner string, wrapped []byte) error {
	if f.writes != nil {
		return f.writes
	}
	return f.Store.AddKey(ctx, owner, wrapped)
}

func (f *failing) Destroy(ctx context.Context, owner string) error {
	if f.writes != nil {
		return f.writes
	}
	return f.Store.Destroy(ctx, owner)
}

func allAtOnce(n int, do func(i int)) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-begin
			do(i)
		})
	}
	close(begin)
	all.Wait()
}

func opened(t *testing.T, h home, secret string) *Vault {
	t.Helper()
	v, err := Open(ctx(t), h(t), secret, true)
	must(t, err)
	return v
}

// sealed is a text of somebody who may be new.
func sealed(t *testing.T, v *Vault, owner, key, text string) events.Sealed {
	t.Helper()
	must(t, v.MakeKey(ctx(t), owner))
	s, err := v.Seal(ctx(t), owner, key, "body", text)
	must(t, err)
	return s
}

func isReadAs(t *testing.T, v *Vault, s events.Sealed, want string) {
	t.Helper()
	if text, err := v.Open(ctx(t), s); err != nil || text != want {
		t.Fatalf("%q is read as %q: %v", want, text, err)
	}
}

func isRefused(t *testing.T, v *Vault, s events.Sealed, want error) {
	t.Helper()
	if text, err := v.Open(ctx(t), s); !errors.Is(err, want) || text != "" {
		t.Fatalf("want %v, got %q and %v", want, text, err)
	}
}

func ctx(t *testing.T) context.Context {
	t.Helper()
	return t.Context()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package redis

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"truebond/commands/token"
	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

func TestTheGreatestPositionOfACallerIsRemembered(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: storetest.Redis(t)})
	defer client.Close()
	p, ctx := NewPositions(client), t.Context()
	settled := func(context.Context) error { return nil }
	if _, err := p.Of(ctx, "user/a", ""); !errors.Is(err, ErrForgotten) {
		t.Fatalf("an empty Redis is believed: %v", err)
	}
	if _, err := p.Vouch(ctx, settled); err != nil {
		t.Fatal(err)
	}
	for _, position := range []uint64{7, 12, 9} { // answers may cross
		if err := p.Note(ctx, position, "user/a", "user/b"); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Note(ctx, 13, "user/b"); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]uint64{"user/a": 12, "user/b": 13, "user/c": 0} {
		if got, err := p.Of(ctx, who, ""); err != nil || got != want {
			t.Errorf("%s is at %d, not %d: %v", who, got, want, err)
		}
	}
	// It is started anew, and again while somebody makes sure that nothing is missed.
	if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if mark, err := p.Mark(ctx); err != nil || mark != "" {
		t.Fatalf("what was forgotten is vouched for: %q %v", mark, err)
	}
	_, err := p.Vouch(ctx, func(ctx context.Context) error { return client.FlushAll(ctx).Err() })
	if !errors.Is(err, ErrForgotten) {
		t.Fatalf("it forgot twice and is vouched for: %v", err)
	}
	if _, err := p.Of(ctx, "user/a", ""); !errors.Is(err, ErrForgotten) {
		t.Errorf("it forgot twice and is believed: %v", err)
	}
	if _, err := p.Vouch(ctx, settled); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Of(ctx, "user/a", ""); err != nil || got != 0 {
		t.Errorf("it remembers %d: %v", got, err)
	}
}

// Somebody may have led with this Redis before, and others lead with another one since.
func TestARedisIsBelievedOnlyByTheMarkOfWhoeverLeads(t *testing.T) {
	ctx := t.Context()
	var marks [2]string
	var both [2]*Positions
	for i := range both {
		client := goredis.NewClient(&goredis.Options{Addr: storetest.Redis(t)})
		defer client.Close()
		both[i] = NewPositions(client)
		mark, err := both[i].Vouch(ctx, func(context.Context) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if there, err := both[i].Mark(ctx); err != nil || there != mark {
			t.Fatalf("it has the mark %q, not %q: %v", there, mark, err)
		}
		marks[i] = mark
	}
	leads, other := both[0], both[1]
	if err := leads.Note(ctx, 7, "user/a"); err != nil {
		t.Fatal(err)
	}
	if got, err := leads.Of(ctx, "user/a", marks[0]); err != nil || got != 7 {
		t.Errorf("the caller is at %d: %v", got, err)
	}
	if got, err := other.Of(ctx, "user/a", marks[0]); !errors.Is(err, ErrForgotten) {
		t.Errorf("another Redis than the leader's is believed that the caller is at %d: %v", got, err)
	}
	if _, err := other.Of(ctx, "user/a", ""); err != nil { // a leader of an older version says nothing
		t.Error(err)
	}
}

// Views that stand still show sessions that have ended as living ones.
func TestAPositionIsRememberedAsLongAsATokenIsGood(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: storetest.Redis(t)})
	defer client.Close()
	if err := NewPositions(client).Note(t.Context(), 1, "user/a"); err != nil {
		t.Fatal(err)
	}
	if left := client.PTTL(t.Context(), positionKey("user/a")).Val(); left < token.Lifetime-time.Minute {
		t.Errorf("it is forgotten in %v", left)
	}
}

// Commands and reads go on without it, and must not wait for it each time.
func TestASilentRedisIsNotWaitedFor(t *testing.T) {
	way := natstest.NewProxy(t, storetest.Redis(t))
	client := goredis.NewClient(&goredis.Options{Addr: way.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	p, ctx := NewPositions(client), t.Context()
	if err := p.Note(ctx, 1, "user/a"); err != nil {
		t.Fatal(err)
	}
	var asked waits
	client.AddHook(&asked)
	way.Freeze()
	begun := time.Now()
	for range 10 {
		if p.Note(ctx, 2, "user/a") == nil {
			t.Fatal("it was noted by nobody")
		}
		if _, err := p.Of(ctx, "user/a", ""); err == nil || errors.Is(err, ErrForgotten) {
			t.Fatalf("nobody said where the caller is, and that is an error of %v", err)
		}
	}
	if took := time.Since(begun); asked.count > 1+int(took/time.Second) || asked.longest > askMax {
		t.Errorf("ten commands and ten reads waited for it %d times in %v, each for %v", asked.count, took, asked.longest)
	}
	way.Heal()
	for end := time.Now().Add(time.Minute); p.Note(ctx, 3, "user/a") != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not asked again")
		}
	}
}

// waits is how often Redis was asked, and for how long it would have been waited for.
type waits struct {
	count   int
	longest time.Duration
}

func (w *waits) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		w.count++
		if end, bounded := ctx.Deadline(); bounded {
			w.longest = max(w.longest, time.Until(end))
		} else {
			w.longest = math.MaxInt64
		}
		return next(ctx, cmd)
	}
}

func (w *waits) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (w *waits) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

package redis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"truebond/commands/redis"
	"truebond/projections/storetest"
)

const (
	attemptsMax = 3
	window      = time.Second // the least that Redis counts in
)

// both runs a test on a real Redis, and on the stand-in, whose time is made to pass.
func both(t *testing.T, test func(t *testing.T, client goredis.UniversalClient, pass func(time.Duration))) {
	t.Run("Redis", func(t *testing.T) {
		test(t, connect(t, storetest.Redis(t)), time.Sleep)
	})
	t.Run("stand-in", func(t *testing.T) {
		standIn := miniredis.RunT(t)
		test(t, connect(t, standIn.Addr()), standIn.FastForward)
	})
}

func connect(t *testing.T, addr string) goredis.UniversalClient {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func TestASignOfLifeIsRememberedPerCallAndUser(t *testing.T) {
	both(t, func(t *testing.T, client goredis.UniversalClient, _ func(time.Duration)) {
		presence := redis.NewPresence(client)
		first, later := time.UnixMilli(1_700_000_000_123), time.UnixMilli(1_700_000_005_000)
		lastSeen := func(call, user string, want time.Time) {
			t.Helper()
			if got, err := presence.LastSeen(t.Context(), call, user); err != nil || !got.Equal(want) {
				t.Errorf("%s was last seen in %s at %s (%v), want %s", user, call, got, err, want)
			}
		}
		seen := func(call string, at time.Time, users ...string) {
			t.Helper()
			if err := presence.Seen(t.Context(), call, at, users...); err != nil {
				t.Fatal(err)
			}
		}
		seen("call_1", first, "usr_a", "usr_b")
		lastSeen("call_1", "usr_a", first)
		lastSeen("call_1", "usr_b", first)
		lastSeen("call_2", "usr_a", time.Time{})
		seen("call_1", later, "usr_b")
		lastSeen("call_1", "usr_a", first)
		lastSeen("call_1", "usr_b", later)
		seen("call_3", later) // of nobody
		for _, key := range client.Keys(t.Context(), "*").Val() {
			if ttl := client.TTL(t.Context(), key).Val(); ttl <= 0 {
				t.Errorf("%s is kept for ever (%s)", key, ttl)
			}
		}
	})
}

func TestTooManyFailuresLockUntilTheWindowIsOver(t *testing.T) {
	both(t, func(t *testing.T, client goredis.UniversalClient, pass func(time.Duration)) {
		attempts := redis.NewAttempts(client, attemptsMax, window)
		locked := func(who string, want bool) {
			t.Helper()
			left, err := attempts.Locked(t.Context(), who)
			if err != nil || (left > 0) != want {
				t.Errorf("%s is locked for %s (%v), want %v", who, left, err, want)
			}
		}
		failed := func(who string) {
			t.Helper()
			if err := attempts.Failed(t.Context(), who); err != nil {
				t.Fatal(err)
			}
		}
		locked("ann", false)
		for range attemptsMax {
			locked("ann", false)
			failed("ann")
		}
		locked("ann", true)
		locked("bob", false)
		pass(window + 50*time.Millisecond)
		locked("ann", false)

		failed("ann")
		failed("ann")
		if err := attempts.Succeeded(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		failed("ann")
		failed("ann")
		locked("ann", false)
		failed("ann")
		locked("ann", true)
		if err := attempts.Succeeded(t.Context(), "nobody"); err != nil {
			t.Error(err)
		}
	})
}

func TestFailuresAtTheSameTimeAllCountAndNeverMakeALockForEver(t *testing.T) {
	both(t, func(t *testing.T, client goredis.UniversalClient, pass func(time.Duration)) {
		attempts := redis.NewAttempts(client, 20, window)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := attempts.Failed(t.Context(), "ann"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if left, err := attempts.Locked(t.Context(), "ann"); err != nil || left <= 0 {
			t.Errorf("after 20 failures at once the lock is for %s (%v)", left, err)
		}
		pass(window + 50*time.Millisecond)
		if left, err := attempts.Locked(t.Context(), "ann"); err != nil || left != 0 {
			t.Errorf("after the window the lock is for %s (%v)", left, err)
		}
	})
}

func TestARedisThatIsAwayIsAnErrorAndLocksNobodyByGuessing(t *testing.T) {
	standIn := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: standIn.Addr(), MaxRetries: -1, DialerRetries: 1})
	defer client.Close() //nolint:errcheck // there is nothing at the other end
	standIn.Close()
	attempts, presence := redis.NewAttempts(client, 1, window), redis.NewPresence(client)
	_, locked := attempts.Locked(t.Context(), "ann")
	_, last := presence.LastSeen(t.Context(), "call", "ann")
	for what, err := range map[string]error{
		"Locked": locked, "Failed": attempts.Failed(t.Context(), "ann"),
		"Succeeded": attempts.Succeeded(t.Context(), "ann"),
		"LastSeen":  last, "Seen": presence.Seen(t.Context(), "call", time.Now(), "ann"),
	} {
		if err == nil {
			t.Error(fmt.Sprint(what, " says nothing of a Redis that is away"))
		}
	}
}

// Package redis keeps what never enters the log and may be lost: who is there, how often somebody has
// failed to log in, and where in the log each caller wrote last. Each entry has a time to live, but for the
// mark by which it is seen that Redis was started anew.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// presenceTTL is how long a sign of life is remembered: well beyond the time after
// which a party counts as gone.
const presenceTTL = 2 * time.Minute

// Presence remembers when each party of a call was last heard of, by the wall clock.
type Presence struct{ client goredis.UniversalClient }

// NewPresence keeps signs of life in Redis.
func NewPresence(client goredis.UniversalClient) *Presence { return &Presence{client} }

// Seen notes a sign of life of these users in a call.
func (p *Presence) Seen(ctx context.Context, call string, at time.Time, users ...string) error {
	pipe := p.client.Pipeline()
	for _, user := range users {
		pipe.Set(ctx, presenceKey(call, user), at.UnixMilli(), presenceTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("note a sign of life in %s: %w", call, err)
	}
	return nil
}

// LastSeen is when a user was last heard of in a call; the zero time if not lately.
func (p *Presence) LastSeen(ctx context.Context, call, user string) (time.Time, error) {
	text, err := p.client.Get(ctx, presenceKey(call, user)).Result()
	if errors.Is(err, goredis.Nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for signs of life in %s: %w", call, err)
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for signs of life in %s: %w", call, err)
	}
	return time.UnixMilli(ms), nil
}

func presenceKey(call, user string) string { return "presence/" + call + "/" + user }

// Attempts counts failures, and locks whoever fails too often for a while.
type Attempts struct {
	client goredis.UniversalClient
	max    int64
	window time.Duration
}

// NewAttempts locks after max failures within a window, until the window is over.
func NewAttempts(client goredis.UniversalClient, max int64, window time.Duration) *Attempts {
	return &Attempts{client, max, window}
}

// Locked is how long somebody stays locked; 0 if they may try.
func (a *Attempts) Locked(ctx context.Context, who string) (time.Duration, error) {
	pipe := a.client.Pipeline()
	failed, left := pipe.Get(ctx, attemptsKey(who)), pipe.PTTL(ctx, attemptsKey(who))
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
		return 0, fmt.Errorf("look for failed attempts: %w", err)
	}
	if n, err := failed.Int64(); err != nil || n < a.max {
		return 0, nil
	}
	return max(left.Val(), time.Second), nil
}

// Failed counts one more failure.
func (a *Attempts) Failed(ctx context.Context, who string) error {
	key := attemptsKey(who)
	pipe := a.client.TxPipeline()
	pipe.Incr(ctx, key)
	pipe.ExpireNX(ctx, key, a.window)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("count a failed attempt: %w", err)
	}
	return nil
}

// Succeeded forgets the failures.
func (a *Attempts) Succeeded(ctx context.Context, who string) error {
	if err := a.client.Del(ctx, attemptsKey(who)).Err(); err != nil {
		return fmt.Errorf("forget failed attempts: %w", err)
	}
	return nil
}

func attemptsKey(who string) string { return "attempts/" + who }

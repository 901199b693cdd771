package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"truebond/commands/redis/breaker"
)

const (
	// positionTTL is how long a caller's last position is remembered: as long as an access token is
	// good. Views that stand still longer would otherwise let in whoever has logged out meanwhile.
	positionTTL = 24 * time.Hour
	// positionsMark is there as long as Redis has forgotten nothing since somebody vouched
	// for it, and vouchingMark as long as it has forgotten nothing since somebody began to.
	// No two who vouch set the same; before that was so, all set 1.
	positionsMark = "position!"
	vouchingMark  = "position?"

	// askMax is how long a command or a read waits for Redis before it waits for the views in its
	// place.
	askMax = 500 * time.Millisecond
)

// ErrForgotten says that Redis may lack positions: it was started anew, or is not the one that has them.
var ErrForgotten = errors.New("redis may have forgotten positions")

// Positions remembers where in the log each caller wrote last, for all processes.
type Positions struct {
	client  goredis.UniversalClient
	breaker *breaker.Breaker
}

// NewPositions keeps positions in Redis. The client is to give up with the context of what it does.
func NewPositions(client goredis.UniversalClient) *Positions {
	return &Positions{client: client, breaker: breaker.New(askMax)}
}

// note keeps the greater one of what is there and what comes: answers may cross.
var note = goredis.NewScript(`
for _, key in ipairs(KEYS) do
  if (tonumber(redis.call('GET', key)) or 0) < tonumber(ARGV[1]) then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
  end
end
return redis.status_reply('OK')`)

// Note remembers that these callers wrote at a position, or are to see it.
func (p *Positions) Note(ctx context.Context, position uint64, who ...string) error {
	keys := make([]string, len(who))
	for i, name := range who {
		keys[i] = positionKey(name)
	}
	err := p.breaker.Ask(ctx, func(ctx context.Context) error {
		return note.Run(ctx, p.client, keys, position, positionTTL.Milliseconds()).Err()
	})
	if err != nil {
		return fmt.Errorf("remember a position: %w", err)
	}
	return nil
}

// Of is the greatest position noted for a caller; 0 if there is none, or it was long ago.
// It fails with ErrForgotten unless Vouch has left this mark; empty: any.
func (p *Positions) Of(ctx context.Context, who, mark string) (uint64, error) {
	var found []any
	err := p.breaker.Ask(ctx, func(ctx context.Context) (err error) {
		found, err = p.client.MGet(ctx, positionKey(who), positionsMark).Result()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ask for a position: %w", err)
	}
	if found[1] == nil || mark != "" && found[1] != mark {
		return 0, ErrForgotten
	}
	text, noted := found[0].(string)
	if !noted {
		return 0, nil
	}
	position, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("ask for a position: %w", err)
	}
	return position, nil
}

// Mark is what the last Vouch has left; empty if Redis has forgotten anything since.
func (p *Positions) Mark(ctx context.Context) (mark string, err error) {
	err = p.breaker.Ask(ctx, func(ctx context.Context) error {
		mark, err = p.client.Get(ctx, positionsMark).Result()
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask who vouched for positions: %w", err)
	}
	return mark, nil
}

// vouch sets the mark if what was set before is still there.
var vouch = goredis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1`)

// Vouch lets Of be believed again, and tells the mark that it leaves. settle returns when all positions
// that were noted before are of no importance any more. If Redis is started anew meanwhile, nothing is
// vouched for: ErrForgotten.
func (p *Positions) Vouch(ctx context.Context, settle func(context.Context) error) (mark string, err error) {
	mine := rand.Text()
	if err := p.client.Set(ctx, vouchingMark, mine, positionTTL).Err(); err != nil {
		return "", fmt.Errorf("vouch for positions: %w", err)
	}
	if err := settle(ctx); err != nil {
		return "", err
	}
	vouched, err := vouch.Run(ctx, p.client, []string{vouchingMark, positionsMark}, mine).Bool()
	if err != nil {
		return "", fmt.Errorf("vouch for positions: %w", err)
	}
	if !vouched {
		return "", ErrForgotten
	}
	return mine, nil
}

func positionKey(who string) string { return "position/" + who }

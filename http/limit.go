package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	nethttp "net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"truebond/commands"
	"truebond/commands/redis/breaker"
	"truebond/events"
	"truebond/ledger"
)

const (
	addressPerMinute = 6000 // over all routes; phone networks put thousands behind one address
	redisAnswerMax   = 2 * time.Second
	redisLogPause    = 30 * time.Second // between two lines about a Redis that fails
)

// limits count requests in Redis, so that all nodes count together (GCRA: the whole of
// a period's requests may come at once, then they flow).
type limits struct {
	redis      *redis_rate.Limiter
	breaker    *breaker.Breaker
	places     chan struct{} // of those who ask Redis
	refused    refusals
	log        *slog.Logger
	perAddress rate

	began    time.Time
	logAfter atomic.Int64 // nanoseconds since began
}

func newLimits(client redis.UniversalClient, perAddress int, log *slog.Logger) *limits {
	// Half of the connections that a client of Redis makes by itself: who waits for a place, and not
	// for a connection, says nothing about Redis.
	places := make(chan struct{}, 5*runtime.GOMAXPROCS(0))
	return &limits{redis: redis_rate.NewLimiter(client), breaker: breaker.New(redisAnswerMax), places: places,
		refused: refusals{last: map[string]refusal{}}, log: log,
		perAddress: rate{count: perAddress, period: perMinute}, began: time.Now()}
}

// allow counts a request against its address and its route. A refusal is 429, or 503
// when Redis cannot say and something would be changed: money and codes are closed then,
// reading goes on.
func (l *limits) allow(ctx context.Context, header nethttp.Header, r *Route, caller ledger.Caller) error {
	if r.unlimited || isOperatorConn(ctx) || caller.Actor.Kind == events.ActorApp || caller.Address == "" {
		return nil
	}
	near := commands.Neighbourhood(caller.Address)
	counted := []count{{name: "address", key: "address/" + near, rate: l.perAddress}}
	switch who := caller.Actor.String(); {
	case r.limit.count == 0:
	case caller.Actor.ID != "":
		counted = append(counted, count{name: "user", key: who + " " + r.key(), rate: r.limit})
	case r.open:
		counted = append(counted, count{name: "route", key: near + " " + r.key(), rate: r.limit})
	}
	if err := l.refusedStill(header, counted); err != nil {
		return err
	}
	tooLong := time.NewTimer(redisAnswerMax)
	defer tooLong.Stop()
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	case <-ctx.Done():
		return ctx.Err()
	case <-tooLong.C: // Redis is slow, or there is a flood
		l.complain(errCrowded)
		return uncounted(r)
	}
	if err := l.refusedStill(header, counted); err != nil { // as those who waited here as well
		return err
	}
	for i := range counted {
		c := &counted[i]
		if err := l.take(ctx, c); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return uncounted(r)
		}
		if c.result.Allowed == 0 {
			l.refused.note(c.key, c.result)
			return tooMany(header, counted[:i+1])
		}
	}
	tell(header, counted)
	return nil
}

var errCrowded = errors.New("too many wait for it")

// uncounted is what becomes of a request that Redis does not count.
func uncounted(r *Route) error {
	if !r.command() {
		return nil
	}
	return ledger.Refuse("limits_unavailable", "Nothing can be changed just now. Try again soon.")
}

// refusedStill refuses who was refused before and may not come again yet. That counts nowhere.
func (l *limits) refusedStill(header nethttp.Header, counted []count) error {
	for _, c := range counted {
		if c.result = l.refused.still(c.key); c.result != nil {
			return tooMany(header, []count{c})
		}
	}
	return nil
}

// tooMany refuses who has reached a limit: the last of these.
func tooMany(header nethttp.Header, counted []count) error {
	tell(header, counted)
	last := counted[len(counted)-1]
	p := newProblem("too_many_requests", fmt.Sprintf("There may be %d of these in %g seconds.",
		last.rate.count, last.rate.period.Seconds()))
	p.retry = last.result.RetryAfter
	return p
}

type count struct {
	name   string
	key    string
	rate   rate
	result *redis_rate.Result
}

// take counts one request.
func (l *limits) take(ctx context.Context, c *count) error {
	return l.breaker.Ask(ctx, func(ctx context.Context) (err error) {
		c.result, err = l.redis.Allow(ctx, "http/"+c.key,
			redis_rate.Limit{Rate: c.rate.count, Burst: c.rate.count, Period: c.rate.period})
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // else the client went away
			l.complain(err)
		}
		return err
	})
}

// complain logs that Redis fails, but not for every request.
func (l *limits) complain(err error) {
	now := int64(time.Since(l.began))
	if after := l.logAfter.Load(); now >= after && l.logAfter.CompareAndSwap(after, now+int64(redisLogPause)) {
		l.log.Error("Redis does not count requests: reads go on without limits, the rest is closed", "error", err)
	}
}

func isTooMany(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.Status == nethttp.StatusTooManyRequests
}

// tell writes what is left, in the fields of the IETF's draft and in the older ones,
// which know one limit only: the last, which is the route's own or the one that is full.
func tell(header nethttp.Header, counted []count) {
	var policies, states []string
	for _, c := range counted {
		window := int(c.rate.period.Seconds())
		policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", c.name, c.rate.count, window))
		states = append(states, fmt.Sprintf("%q;r=%d;t=%d", c.name, c.result.Remaining, resetSeconds(c.result)))
	}
	last := counted[len(counted)-1]
	header.Set("RateLimit-Policy", strings.Join(policies, ", "))
	header.Set("RateLimit", strings.Join(states, ", "))
	header.Set("X-RateLimit-Limit", strconv.Itoa(last.rate.count))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(last.result.Remaining))
	reset := time.Now().Add(last.result.ResetAfter)
	header.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
}

// resetSeconds is how long what is left must do: until the limit is whole again, or when it
// is used up until there is one more.
func resetSeconds(result *redis_rate.Result) int {
	if result.Allowed == 0 {
		return int(math.Ceil(result.RetryAfter.Seconds()))
	}
	return int(math.Ceil(result.ResetAfter.Seconds()))
}

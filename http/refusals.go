package http

import (
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
)

// refusalsMax bounds what a process remembers of those who came too often; some 200 bytes each.
const refusalsMax = 10_000

// refusals are what Redis has said of those who came too often, until they may come again. It would
// say the same until then: not asked, it has time to count others, however many come from one address.
type refusals struct {
	mu   sync.Mutex
	last map[string]refusal // by a count's key
}

type refusal struct {
	result redis_rate.Result
	at     time.Time
}

// still is what Redis would say of who was refused; nil if it has to be asked.
func (r *refusals) still(key string) *redis_rate.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.last[key]
	if !ok {
		return nil
	}
	passed := time.Since(known.at)
	if passed >= known.result.RetryAfter {
		delete(r.last, key)
		return nil
	}
	now := known.result
	now.RetryAfter -= passed
	now.ResetAfter -= passed
	return &now
}

// note remembers a refusal. Where there are too many it forgets the others: Redis knows them.
func (r *refusals) note(key string, result *redis_rate.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) >= refusalsMax {
		clear(r.last)
	}
	r.last[key] = refusal{result: *result, at: time.Now()}
}

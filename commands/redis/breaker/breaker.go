// Package breaker asks a Redis that may be silent, as when its host is cut off, without having
// all who need it wait for it.
package breaker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// rest is how long a Redis that failed is left alone: one asks again after it, and the others when
// that was answered.
const rest = time.Second

// errAway says that Redis has just not answered, and was not asked again.
var errAway = errors.New("redis does not answer")

// A Breaker asks one Redis.
type Breaker struct {
	answerMax time.Duration
	began     time.Time
	again     atomic.Int64 // nanoseconds since began, when one may ask again; 0: it answers
}

// New makes a breaker for a Redis that has so long for each answer.
func New(answerMax time.Duration) *Breaker {
	return &Breaker{answerMax: answerMax, began: time.Now()}
}

// Ask asks for a bounded time. While Redis is left alone it fails at once. Who goes away before the
// answer, or comes when their time is over, says nothing about Redis.
func (b *Breaker) Ask(ctx context.Context, ask func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	again := b.again.Load()
	if again != 0 && (int64(time.Since(b.began)) < again || !b.again.CompareAndSwap(again, b.afterRest())) {
		return errAway
	}
	bounded, cancel := context.WithTimeout(ctx, b.answerMax)
	defer cancel()
	err := ask(bounded)
	switch {
	case err == nil:
		b.again.Store(0)
	case !errors.Is(ctx.Err(), context.Canceled):
		b.again.Store(b.afterRest())
	}
	return err
}

func (b *Breaker) afterRest() int64 { return int64(time.Since(b.began) + rest) }

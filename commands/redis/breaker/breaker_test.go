package breaker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const answerMax = 2 * time.Second

// asked is how often a server was asked.
type asked struct{ atomic.Int64 }

func (a *asked) silent(ctx context.Context) error {
	a.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

func (a *asked) answering(context.Context) error {
	a.Add(1)
	return nil
}

func TestASilentRedisHoldsUpOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, begun := New(answerMax), time.Now()
		var server asked
		if err := b.Ask(t.Context(), server.silent); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != answerMax {
			t.Errorf("who finds out is told %v after %v", err, time.Since(begun))
		}
		together := func(ask func(context.Context) error) (asked int64) {
			before := server.Load()
			for range 8 {
				go func() { _ = b.Ask(t.Context(), ask) }()
			}
			synctest.Wait()
			return server.Load() - before
		}
		if n := together(server.silent); n != 0 {
			t.Errorf("it has just not answered, and %d of 8 ask it", n)
		}
		time.Sleep(rest)
		if n := together(server.silent); n != 1 {
			t.Errorf("after a rest %d of 8 ask it", n)
		}
		time.Sleep(answerMax + rest)
		if err := b.Ask(t.Context(), server.answering); err != nil {
			t.Errorf("it answers, and who asks is told %v", err)
		}
		if n := together(server.answering); n != 8 {
			t.Errorf("it answers, and %d of 8 ask it", n)
		}
	})
}

func TestWhoHasNoTimeSaysNothingAboutRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(answerMax)
		var server asked
		late, cancel := context.WithTimeout(t.Context(), -time.Second)
		defer cancel()
		if err := b.Ask(late, server.answering); !errors.Is(err, context.DeadlineExceeded) || server.Load() != 0 {
			t.Errorf("who comes too late is told %v", err)
		}
		leaving, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if err := b.Ask(leaving, server.silent); !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves is told %v", err)
		}
		if err := b.Ask(t.Context(), server.answering); err != nil {
			t.Errorf("who comes next is told %v", err)
		}
	})
}

// A clock that is set back by an hour in that second would leave Redis alone for the hour.
func TestHowLongRedisIsLeftAloneGoesByNoWallClock(t *testing.T) {
	b := New(answerMax)
	if err := b.Ask(t.Context(), func(context.Context) error { return errors.New("it refuses") }); err == nil {
		t.Fatal("it refuses, and that is no error")
	}
	if left := time.Duration(b.again.Load()); left <= 0 || left > time.Hour {
		t.Errorf("it is left alone until %v", left)
	}
}

package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever decides changes in the very moment in which the wait is too long.
func TestWhoWaitsForTheViewsLearnsThatItTookTooLong(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			s := newShown(nil, nil, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			time.AfterFunc(time.Second, func() { s.take(nil) })
			if err := s.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		})
	}
}

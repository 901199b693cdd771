package main

import (
	"context"
	"os"

	"github.com/mattn/go-isatty"
)

// interruptible waits for what somebody types or pipes, until ctx ends. A read cannot be
// interrupted: it is left behind, and Ctrl-C ends the program all the same.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case <-ctx.Done():
		var nothing T
		return nothing, ctx.Err()
	case r := <-done:
		return r.value, r.err
	}
}

// isTerminal tells whether a person is at the other end of a reader or a writer.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// Command truebond is the whole of TrueBond in one program: the server, and what its
// operators need around it. `truebond --help` tells how to begin.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	tuneMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// What the program ends with, as a shell sees it.
const (
	exitDone    = 0
	exitFailed  = 1
	exitMisused = 2 // the command line does not make sense
)

// run is the program without its process, so that tests can run all of it. A cancelled
// context is the wish to stop in good order.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	var misuse *misuseError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &misuse):
		fmt.Fprintf(stderr, "truebond: %v\nSee `%s --help`.\n", err, called.CommandPath())
		return exitMisused
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "truebond: stopped before it was done")
		return exitFailed
	default:
		fmt.Fprintf(stderr, "truebond: %v\n", err)
		return exitFailed
	}
}

// A misuseError is a command line that does not make sense.
type misuseError struct{ error }

func (e *misuseError) Unwrap() error { return e.error }

func misused(format string, args ...any) error {
	return &misuseError{fmt.Errorf(format, args...)}
}

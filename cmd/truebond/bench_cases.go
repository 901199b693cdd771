package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// inFolder runs a case on a folder that is thrown away.
func inFolder(do func(folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "truebond-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return do(folder)
}

// A benchCase is something that callers can ask again and again.
type benchCase struct {
	name  string
	lasts bool // also measured for so long that the views must keep up
	begin func(ctx context.Context, callers int) (round, error)
}

// A round has the callers ask for a while.
type round func(ctx context.Context, length time.Duration) (measured, error)

// sideBySide measures the cases in turns, so that what else the machine does meets all
// of them alike.
func (b *bench) sideBySide(ctx context.Context) error {
	return inFolder(func(folder string) error {
		raw, err := openRaw(ctx, filepath.Join(folder, "raw"))
		if err != nil {
			return err
		}
		defer raw.log.Close() //nolint:errcheck // it is thrown away
		l, err := openLedger(ctx, filepath.Join(folder, "ledger"))
		if err != nil {
			return err
		}
		defer l.server.stop(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
		cases := []benchCase{
			{"jetstream", false, raw.begin},
			{"writer", true, l.begin(anyAccount, l.direct)},
			{"writer-hot", false, l.begin(hotAccount, l.direct)}, // a minute would use up its credits
			{"http", true, l.begin(anyAccount, l.overHTTP)},
		}
		for _, callers := range b.callerCounts() {
			if err := b.turns(ctx, cases, callers); err != nil {
				return err
			}
		}
		if b.quick {
			return nil
		}
		for _, c := range cases {
			if !c.lasts {
				continue
			}
			if err := b.keepUp(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// turns measures each case with so many callers, a round of each at a time.
func (b *bench) turns(ctx context.Context, cases []benchCase, callers int) error {
	rounds := make([]round, len(cases))
	done := make([][]measured, len(cases))
	for i, c := range cases {
		var err error
		if rounds[i], err = c.begin(ctx, callers); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for range b.rounds {
		for i, c := range cases {
			m, err := rounds[i](ctx, b.burst())
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			done[i] = append(done[i], m)
		}
	}
	for i, c := range cases {
		b.add(row(c.name, callers, done[i]))
	}
	return nil
}

// keepUp measures what a case does for so long that the views must keep up.
func (b *bench) keepUp(ctx context.Context, c benchCase) error {
	const callers = 256
	ask, err := c.begin(ctx, callers)
	if err != nil {
		return err
	}
	m, err := ask(ctx, sustained)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	b.add(row(c.name+"-sustained", callers, []measured{m}))
	return nil
}

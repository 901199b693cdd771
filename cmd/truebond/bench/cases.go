package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	only  map[int]int // with how many callers it is measured in the place of how many; nil: with all
}

// A round has the callers ask for a while.
type round func(ctx context.Context, length time.Duration) (measured, error)

// comparedCallers are those with whom the ledger is compared with others, and bulkCallers
// are how many of them take part when each asks for a thousand charges at once: more do
// not find room in the writer's queue.
var (
	comparedCallers = map[int]int{64: 64, 256: 256}
	bulkCallers     = map[int]int{64: 4, 256: 7}
)

// sideBySide measures the cases in turns, so that what else the machine does meets all
// of them alike.
func (b *bench) sideBySide(ctx context.Context) error {
	return inFolder(func(folder string) error {
		raw, err := openRaw(ctx, filepath.Join(folder, "raw"))
		if err != nil {
			return err
		}
		defer raw.log.Close() //nolint:errcheck // it is thrown away
		l, err := openLedger(ctx, filepath.Join(folder, "ledger"), b.Accounts)
		if err != nil {
			return err
		}
		defer l.server.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
		cases := []benchCase{
			{"jetstream", false, raw.begin, nil},
			{"writer", true, l.begin(l.anyAccount, l.direct), nil},
			{"writer-hot", false, l.begin(l.hotAccount, l.direct), nil},
			{"http", true, l.begin(l.anyAccount, l.overHTTP), nil},
		}
		if !b.Quick {
			cases = append(cases,
				benchCase{"http-hot", false, l.begin(l.hotAccount, l.overHTTP), comparedCallers},
				benchCase{"http-bulk", false, l.bulk, bulkCallers})
		}
		if b.Postgres != "" {
			p, err := openPostgres(ctx, b.Postgres, l)
			if err != nil {
				return err
			}
			defer p.close(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
			cases = append(cases,
				benchCase{"postgres", false, p.begin(l.anyAccount, false), comparedCallers},
				benchCase{"postgres-hot", false, p.begin(l.hotAccount, false), comparedCallers},
				benchCase{"postgres-revenue", false, p.begin(l.anyAccount, true), comparedCallers})
		}
		for _, callers := range b.callerCounts() {
			if err := b.turns(ctx, cases, callers); err != nil {
				return err
			}
		}
		if b.Quick {
			return nil
		}
		return b.lasting(ctx, cases, l)
	})
}

// lasting measures what shows only in a longer time.
func (b *bench) lasting(ctx context.Context, cases []benchCase, l *ledgerBench) error {
	if b.wants("query-idle", "query-busy") {
		if err := b.queries(ctx, l); err != nil {
			return err
		}
	}
	for _, c := range cases {
		if !c.lasts || !b.wants(c.name+"-sustained") {
			continue
		}
		if err := b.keepUp(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// turns measures each case with so many callers, a round of each at a time.
func (b *bench) turns(ctx context.Context, all []benchCase, callers int) error {
	cases := slices.DeleteFunc(slices.Clone(all), func(c benchCase) bool {
		return c.callers(callers) == 0 || !b.wants(c.name)
	})
	rounds := make([]round, len(cases))
	done := make([][]measured, len(cases))
	for i, c := range cases {
		var err error
		if rounds[i], err = c.begin(ctx, c.callers(callers)); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for n := range 1 + b.Rounds {
		length := b.burst()
		if n == 0 {
			length /= 2 // a round to warm up, which does not count
		}
		for i, c := range cases {
			m, err := rounds[i](ctx, length)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if n > 0 {
				done[i] = append(done[i], m)
			}
		}
	}
	for i, c := range cases {
		b.add(row(c.name, c.callers(callers), done[i]))
	}
	return nil
}

// callers are how many take part where others have so many; 0: the case is left out.
func (c benchCase) callers(others int) int {
	if c.only == nil {
		return others
	}
	return c.only[others]
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

// callerCounts are how many callers ask at a time.
func (b *bench) callerCounts() []int {
	if b.Quick {
		return []int{1, 64, 1024}
	}
	return []int{1, 16, 64, 256, 1024}
}

// burst is how long one round takes. After two seconds, bulk charges would be further ahead of the
// views than is allowed, and measure these.
func (b *bench) burst() time.Duration {
	if b.Quick {
		return 400 * time.Millisecond
	}
	return time.Second
}

// sustained is how long a round takes in which the views must keep up.
const sustained = time.Minute

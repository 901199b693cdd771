// Package bench measures the ledger, next to what it stands on and to what it is compared with.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"truebond/cmd/truebond/settings"
)

// Options say what to measure.
type Options struct {
	Quick    bool     // fewer cases, within 50 seconds
	Rounds   int      // of each case, of which the median counts; 0: 5, or 3 if it is to be quick
	Postgres string   // URL of a server to compare with; empty: it is not compared with
	Cases    []string // the only ones that are measured; empty: all
	Events   uint64   // of a long log; 0: none is made
	Accounts int      // that are charged; 0: 10,000
}

// A bench measures. Each case has its own data folder.
type bench struct {
	Options
	notes io.Writer
	rows  []Row
}

// Run measures, and notes meanwhile how far it is. Errors: ErrNoCase, with what was measured.
func Run(ctx context.Context, o Options, notes io.Writer) ([]Row, error) {
	if o.Rounds == 0 {
		o.Rounds = map[bool]int{true: 3, false: 5}[o.Quick]
	}
	o.Accounts = cmp.Or(o.Accounts, benchAccounts)
	b := &bench{Options: o, notes: notes}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	return b.rows, b.missing()
}

func (b *bench) run(ctx context.Context) error {
	if b.Events > 0 {
		return b.longLog(ctx)
	}
	mongoURL, err := mongoURL()
	if err != nil {
		return err
	}
	if err := b.sideBySide(ctx); err != nil {
		return err
	}
	if !b.wants("projector-sqlite", "store-sqlite", "projector-mongo", "store-mongo") {
		return nil
	}
	return b.projectors(ctx, mongoURL)
}

// ErrNoCase says that a case was named that there is not, or not with these options.
var ErrNoCase = errors.New("was not measured: with these flags there is no such case")

// missing refuses a case that was named and not measured: there is none of that name, or
// not with these flags.
func (b *bench) missing() error {
	for _, name := range b.Cases {
		if !slices.ContainsFunc(b.rows, func(r Row) bool { return r.Case == name }) {
			return fmt.Errorf("--case %s %w", name, ErrNoCase)
		}
	}
	return nil
}

// wants tells whether any of these cases is to be measured.
func (b *bench) wants(cases ...string) bool {
	return len(b.Cases) == 0 || slices.ContainsFunc(cases, func(c string) bool { return slices.Contains(b.Cases, c) })
}

// mongoURL is where MongoDB is measured, in a database of the bench's own; empty: nowhere.
func mongoURL() (string, error) {
	s, err := settings.Read()
	if err != nil || s.MongoURL == "" {
		return "", err
	}
	address, options, _ := strings.Cut(s.MongoURL, "?")
	scheme, rest, _ := strings.Cut(address, "://")
	hosts, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + hosts + "/truebond_bench?" + options, nil
}

func (b *bench) add(r Row) {
	b.tell("%-20s %5d callers %8.0f/s", r.Case, r.Callers, r.PerSecond)
	b.rows = append(b.rows, r)
}

// tell notes how far it is.
func (b *bench) tell(format string, args ...any) {
	fmt.Fprintf(b.notes, format+"\n", args...) //nolint:errcheck // a note
}

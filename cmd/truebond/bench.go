package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// A benchRow is one figure of the bench.
type benchRow struct {
	Case      string  `json:"case"`
	Callers   int     `json:"callers"`
	PerSecond float64 `json:"per_second"` // events
	P50       float64 `json:"p50_ms"`     // what a caller waits
	P99       float64 `json:"p99_ms"`
	MiB       float64 `json:"memory_mib,omitempty"` // of a server's process, where that is measured
}

func benchCommand() *cobra.Command {
	b := bench{accounts: benchAccounts}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure it, next to raw JetStream in the same run",
		Long: `Measures, on throw-away data and with every write synced: raw JetStream with the same
settings and sizes (an atomic batch of as many messages as there are callers, 1,000 at
most; one caller publishes alone), the writer, the writer with one hot account, the whole
of it over HTTP (credits/deduct; in the full form also with one hot account and in bulk),
how fast the projector folds into each store and how fast the store takes the same
documents ready-made, and what a reader waits while the projector is idle and busy.

With --postgres, one SQL function that does the same is called in the same run, over
Postgres's own protocol: with many accounts, with one hot account, and with one row of
revenue for all. With --events, a server on a long log is measured next to one on a short
log, and nothing else: its start, a command (the first ones after the start, and those when
it is warm), its memory beside SQLite's cache once garbage was collected a few times, and that
cache.

A case is first measured in bursts: short enough for the views to lag behind. What ends
in -sustained is a minute long: then the writer goes as fast as the views follow.

Figures depend on the machine and on what else it does. Compare those of one run.
MongoDB is measured when MONGO_URL names one, in its database truebond_bench, which is
emptied before and afterwards.`,
		Example: `  truebond bench
  truebond bench --quick --json
  truebond bench --postgres postgres://postgres@127.0.0.1:5432/postgres
  truebond bench --events 10000000`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.rounds < 0 {
				return misused("--rounds %d is below 0", b.rounds)
			}
			rows, err := b.run(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(rows)
			} else {
				err = printRows(cmd.OutOrStdout(), rows)
			}
			return cmp.Or(err, b.missing())
		},
	}
	cmd.Flags().BoolVar(&b.quick, "quick", false, "fewer cases, within 50 seconds")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the rows as JSON, and nothing else on standard output")
	cmd.Flags().IntVar(&b.rounds, "rounds", 0, "rounds of each case, of which the median counts; 0: 5, or 3 with --quick")
	cmd.Flags().StringVar(&b.postgres, "postgres", "",
		"URL of a Postgres server to compare with; its schema truebond_bench is dropped")
	cmd.Flags().StringSliceVar(&b.cases, "case", nil, "measure only this case, named as in the table (may be repeated)")
	cmd.Flags().Uint64Var(&b.events, "events", 0, "measure only a server on a log of so many events, next to a short log")
	return cmd
}

// callerCounts are how many callers ask at a time.
func (b *bench) callerCounts() []int {
	if b.quick {
		return []int{1, 64, 1024}
	}
	return []int{1, 16, 64, 256, 1024}
}

// A measured round: how many events, in what time, and how long each caller waited.
type measured struct {
	events int
	took   time.Duration
	waits  []time.Duration
}

// row sums rounds up: the round of the median rate counts.
func row(name string, callers int, rounds []measured) benchRow {
	slices.SortFunc(rounds, func(a, b measured) int { return cmp.Compare(a.rate(), b.rate()) })
	m := rounds[len(rounds)/2]
	slices.Sort(m.waits)
	at := func(q float64) float64 {
		if len(m.waits) == 0 {
			return 0
		}
		return float64(m.waits[int(q*float64(len(m.waits)-1))].Microseconds()) / 1000
	}
	return benchRow{Case: name, Callers: callers, PerSecond: m.rate(), P50: at(.5), P99: at(.99)}
}

func (m measured) rate() float64 { return float64(m.events) / m.took.Seconds() }

func printRows(out io.Writer, rows []benchRow) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "case\tcallers\tevents/s\tp50 ms\tp99 ms\tMiB\t") //nolint:errcheck // Flush tells
	for _, r := range rows {
		memory := ""
		if r.MiB > 0 {
			memory = fmt.Sprintf("%.0f", r.MiB)
		}
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.2f\t%.2f\t%s\t\n", //nolint:errcheck // Flush tells
			r.Case, r.Callers, r.PerSecond, r.P50, r.P99, memory)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out) //nolint:errcheck // the table was written
	printGoals(out, rows)
	return nil
}

// A bench measures. Each case has its own data folder.
type bench struct {
	quick    bool
	rounds   int
	accounts int      // that are charged
	postgres string   // URL; empty: it is not compared with
	cases    []string // the only ones that are measured; empty: all
	events   uint64   // of a long log; 0: none is made
	notes    io.Writer
	rows     []benchRow
}

func (b *bench) run(ctx context.Context, notes io.Writer) ([]benchRow, error) {
	b.notes = notes
	if b.rounds == 0 {
		b.rounds = map[bool]int{true: 3, false: 5}[b.quick]
	}
	if b.events > 0 {
		err := b.longLog(ctx)
		return b.rows, err
	}
	mongoURL, err := benchMongo()
	if err != nil {
		return nil, err
	}
	if err := b.sideBySide(ctx); err != nil {
		return nil, err
	}
	if !b.wants("projector-sqlite", "store-sqlite", "projector-mongo", "store-mongo") {
		return b.rows, nil
	}
	err = b.projectors(ctx, mongoURL)
	return b.rows, err
}

// missing refuses a case that was named and not measured: there is none of that name, or
// not with these flags.
func (b *bench) missing() error {
	for _, name := range b.cases {
		if !slices.ContainsFunc(b.rows, func(r benchRow) bool { return r.Case == name }) {
			return misused("--case %s was not measured: with these flags there is no such case", name)
		}
	}
	return nil
}

// wants tells whether any of these cases is to be measured.
func (b *bench) wants(cases ...string) bool {
	return len(b.cases) == 0 || slices.ContainsFunc(cases, func(c string) bool { return slices.Contains(b.cases, c) })
}

// benchMongo is where MongoDB is measured, in a database of the bench's own; empty: nowhere.
func benchMongo() (string, error) {
	s, err := readSettings()
	if err != nil || s.MongoURL == "" {
		return "", err
	}
	address, options, _ := strings.Cut(s.MongoURL, "?")
	scheme, rest, _ := strings.Cut(address, "://")
	hosts, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + hosts + "/truebond_bench?" + options, nil
}

func (b *bench) add(r benchRow) {
	b.tell("%-20s %5d callers %8.0f/s", r.Case, r.Callers, r.PerSecond)
	b.rows = append(b.rows, r)
}

// tell notes how far it is.
func (b *bench) tell(format string, args ...any) {
	fmt.Fprintf(b.notes, format+"\n", args...) //nolint:errcheck // a note
}

// burst is how long one round takes. After two seconds, bulk charges would be further ahead of the
// views than is allowed, and measure these.
func (b *bench) burst() time.Duration {
	if b.quick {
		return 400 * time.Millisecond
	}
	return time.Second
}

// sustained is how long a round takes in which the views must keep up.
const sustained = time.Minute

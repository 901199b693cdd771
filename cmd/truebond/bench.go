package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/bench"
)

func benchCommand() *cobra.Command {
	var o bench.Options
	asJSON, profile := false, ""
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
			if o.Rounds < 0 {
				return misused("--rounds %d is below 0", o.Rounds)
			}
			if o.Events > 0 && (len(o.Cases) > 0 || o.Postgres != "") {
				return misused("--events measures nothing else: it goes with neither --case nor --postgres")
			}
			show := bench.Print
			if asJSON {
				show = func(out io.Writer, rows []bench.Row) error { return json.NewEncoder(out).Encode(rows) }
			}
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			rows, err := bench.Run(cmd.Context(), o, cmd.ErrOrStderr())
			err = cmp.Or(err, stop())
			if errors.Is(err, bench.ErrNoCase) {
				err = &misuseError{err}
			}
			if len(rows) == 0 {
				return err
			}
			return cmp.Or(show(cmd.OutOrStdout(), rows), err)
		},
	}
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "fewer cases, within 50 seconds")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the rows as JSON, and nothing else on standard output")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 0, "rounds of each case, of which the median counts; 0: 5, or 3 with --quick")
	cmd.Flags().StringVar(&o.Postgres, "postgres", "",
		"URL of a Postgres server to compare with; its schema truebond_bench is dropped")
	cmd.Flags().StringSliceVar(&o.Cases, "case", nil, "measure only this case, named as in the table (may be repeated)")
	cmd.Flags().Uint64Var(&o.Events, "events", 0, "measure only a server on a log of so many events, next to a short log")
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "file for a profile of this process, as go tool pprof reads it")
	return cmd
}

// startProfile has the processor's time profiled into a file; empty: not at all.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

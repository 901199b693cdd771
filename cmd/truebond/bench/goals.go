package bench

import (
	"fmt"
	"io"
)

// A goal is a ratio of two figures of one run. Figures are named `case/callers`, or
// `case` for the best of a case; with p50, p99 or MiB behind a blank, another column.
type goal struct {
	what         string
	of, to       string
	least, most  float64 // one of them is the goal
	absoluteMost float64 // of the first figure alone; 0: any
}

var benchGoals = []goal{
	{what: "writer, 1,024 callers / JetStream's best batch", of: "writer/1024", to: "jetstream", least: .8},
	{what: "writer, 1 caller / a lone publish", of: "writer/1", to: "jetstream/1", least: .8},
	{what: "one hot account / many accounts, 1,024 callers", of: "writer-hot/1024", to: "writer/1024", least: .95},
	{what: "HTTP / Postgres, 64 clients", of: "http/64", to: "postgres/64", least: 1.5},
	{what: "HTTP / Postgres, 256 clients", of: "http/256", to: "postgres/256", least: 2.5},
	{what: "HTTP / Postgres, 64 clients, one hot account", of: "http-hot/64", to: "postgres-hot/64", least: 8},
	{what: "HTTP / Postgres, 256 clients, one hot account", of: "http-hot/256", to: "postgres-hot/256", least: 8},
	{what: "HTTP / Postgres, 64 clients, one revenue account", of: "http/64", to: "postgres-revenue/64", least: 8},
	{what: "HTTP / Postgres, 256 clients, one revenue account", of: "http/256", to: "postgres-revenue/256", least: 8},
	{what: "HTTP in bulk / single calls, 64 clients", of: "http-bulk/4", to: "http/64", least: 5},
	{what: "HTTP in bulk / single calls, 256 clients", of: "http-bulk/7", to: "http/256", least: 5},
	{what: "projector / what the store takes in bulk, SQLite", of: "projector-sqlite", to: "store-sqlite", least: .7},
	{what: "projector / what the store takes in bulk, MongoDB", of: "projector-mongo", to: "store-mongo", least: .7},
	{what: "a query's p99, projector busy / idle", of: "query-busy p99", to: "query-idle p99", most: 3},
	{what: "a command, long log / short log, p50", of: "command-long p50", to: "command-short p50", most: 1.2},
	{what: "memory, long log / short log", of: "memory-long MiB", to: "memory-short MiB", most: 1.2},
	{what: "start to serving, long log / short log", of: "start-long p50", to: "start-short p50", most: 2,
		absoluteMost: 5000},
}

// printGoals prints the ratios of what was measured, and whether they are met.
func printGoals(out io.Writer, rows []Row) {
	figures := map[string]float64{}
	best := func(name string, value float64) { figures[name] = max(figures[name], value) }
	for _, r := range rows {
		best(r.Case, r.PerSecond)
		best(fmt.Sprint(r.Case, "/", r.Callers), r.PerSecond)
		best(r.Case+" p50", r.P50)
		best(r.Case+" p99", r.P99)
		best(r.Case+" MiB", r.MiB)
	}
	for _, g := range benchGoals {
		of, to := figures[g.of], figures[g.to]
		if of == 0 || to == 0 {
			continue
		}
		goal, met := fmt.Sprintf("at least %g", g.least), of/to >= g.least
		if g.most > 0 {
			goal, met = fmt.Sprintf("at most %g", g.most), of/to <= g.most
		}
		if g.absoluteMost > 0 {
			goal += fmt.Sprintf(", and %g ms", g.absoluteMost)
			met = met && of <= g.absoluteMost
		}
		fmt.Fprintf(out, "%s: %.2f (%s: %s)\n", g.what, of/to, goal, //nolint:errcheck // the table was written
			map[bool]string{true: "met", false: "MISSED"}[met])
	}
}

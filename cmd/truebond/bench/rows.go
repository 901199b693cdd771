package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A Row is one figure of the bench.
type Row struct {
	Case      string  `json:"case"`
	Callers   int     `json:"callers"`
	PerSecond float64 `json:"per_second"` // events
	P50       float64 `json:"p50_ms"`     // what a caller waits
	P99       float64 `json:"p99_ms"`
	MiB       float64 `json:"memory_mib,omitempty"` // of a server's process, where that is measured
}

// A measured round: how many events, in what time, and how long each caller waited.
type measured struct {
	events int
	took   time.Duration
	waits  []time.Duration
}

// row sums rounds up: the round of the median rate counts.
func row(name string, callers int, rounds []measured) Row {
	slices.SortFunc(rounds, func(a, b measured) int { return cmp.Compare(a.rate(), b.rate()) })
	m := rounds[len(rounds)/2]
	slices.Sort(m.waits)
	at := func(q float64) float64 {
		if len(m.waits) == 0 {
			return 0
		}
		return float64(m.waits[int(q*float64(len(m.waits)-1))].Microseconds()) / 1000
	}
	return Row{Case: name, Callers: callers, PerSecond: m.rate(), P50: at(.5), P99: at(.99)}
}

func (m measured) rate() float64 { return float64(m.events) / m.took.Seconds() }

// Print prints a table, and how far the goals were met.
func Print(out io.Writer, rows []Row) error {
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

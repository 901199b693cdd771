package projections

import (
	"cmp"
	"slices"
	"time"

	"truebond/events"
)

// A Turnover is what went in and out of the accounts of each class in a stretch of
// time, by when it happened (Effective).
type Turnover struct {
	Lines []TurnoverLine `json:"lines"` // in the order of class and asset, each pair once
}

// A TurnoverLine is what went in and out of one class of accounts, in one asset.
type TurnoverLine struct {
	Class string       `json:"class"`
	Asset events.Asset `json:"asset"`
	In    int64        `json:"in"`
	Out   int64        `json:"out"`
}

// Balances are the turnovers of each day and of each minute, UTC. The sum of all days
// before a date, and of the minutes since, is the trial balance as of a time.
var Balances = events.Fold[Turnover]{
	Name:    "balances",
	Version: 1,
	Keys: func(e events.Event) []string {
		if len(e.Moves) == 0 {
			return nil
		}
		return []string{DayID(e.Effective), MinuteID(e.Effective)}
	},
	Evolve: func(doc Turnover, _ string, e events.Event) (Turnover, bool) {
		return doc.AddMoves(e.Moves), true
	},
}

// AddMoves is the turnover with these moves too.
func (t Turnover) AddMoves(moves []events.Move) Turnover {
	lines := slices.Clone(t.Lines)
	for _, m := range moves {
		lines = line(lines, m.From.Class(), m.Asset, 0, m.Amount)
		lines = line(lines, m.To.Class(), m.Asset, m.Amount, 0)
	}
	return Turnover{Lines: lines}
}

// DayID is the id of a day's turnover.
func DayID(t time.Time) string { return "day/" + t.UTC().Format("2006-01-02") }

// MinuteID is the id of a minute's turnover.
func MinuteID(t time.Time) string { return "minute/" + t.UTC().Format("2006-01-02T15:04") }

// line adds to the line of a class and an asset, which it makes where it belongs.
func line(lines []TurnoverLine, class string, asset events.Asset, in, out int64) []TurnoverLine {
	at, found := slices.BinarySearchFunc(lines, TurnoverLine{Class: class, Asset: asset}, compareLines)
	if !found {
		lines = slices.Insert(lines, at, TurnoverLine{Class: class, Asset: asset})
	}
	lines[at].In += in
	lines[at].Out += out
	return lines
}

// Add sums two turnovers.
func (t Turnover) Add(other Turnover) Turnover {
	lines := slices.Clone(t.Lines)
	for _, l := range other.Lines {
		lines = line(lines, l.Class, l.Asset, l.In, l.Out)
	}
	return Turnover{Lines: lines}
}

func compareLines(a, b TurnoverLine) int {
	return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Asset, b.Asset))
}

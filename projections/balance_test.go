package projections_test

import (
	"testing"
	"time"

	"truebond/events"
	"truebond/projections"
)

func TestTurnoversAreKeptByDayAndMinuteOfWhenThingsHappened(t *testing.T) {
	late := charge
	late.Effective = time.Date(2026, 1, 30, 23, 59, 59, 0, time.FixedZone("", -3600)) // 00:59:59 of the 31st, UTC
	docs := folded(projections.Balances, []events.Event{bonus, late, intended, bonus})
	line := func(account events.Account, in, out int64) projections.TurnoverLine {
		return projections.TurnoverLine{Class: account.Class(), Asset: events.Credit, In: in, Out: out}
	}
	issued, spent := events.Account("issued/promotional"), events.Account("spent/promotional/other")
	thenDocs(t, docs, map[string]projections.Turnover{
		"day/2026-01-31": {Lines: []projections.TurnoverLine{
			line(issued, 0, 20), line(spent, 3, 0), line(annsLot, 20, 3)}},
		"minute/2026-01-31T12:00": {Lines: []projections.TurnoverLine{line(issued, 0, 20), line(annsLot, 20, 0)}},
		"minute/2026-01-31T00:59": {Lines: []projections.TurnoverLine{line(spent, 3, 0), line(annsLot, 0, 3)}},
	})
}

func TestTurnoversAddUp(t *testing.T) {
	one := projections.Turnover{}.AddMoves(bonus.Moves)
	two := projections.Turnover{}.AddMoves(charge.Moves)
	sum, other := one.Add(two), two.Add(one)
	both := projections.Turnover{}.AddMoves(append(append([]events.Move{}, bonus.Moves...), charge.Moves...))
	thenDocs(t, map[string]projections.Turnover{"sum": sum, "other": other},
		map[string]projections.Turnover{"sum": both, "other": both})
	if len(one.Lines) != 2 {
		t.Errorf("adding has changed what was added to: %+v", one)
	}
}

package main

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	signupCredits = 10
	checkMax      = 2 * time.Minute // for one user's history; it takes milliseconds
)

func TestHistoriesOfOneAccountAreLinearisable(t *testing.T) {
	operations, unknown := 0, 0
	for n := range max(1, *rounds) {
		var h []porcupine.Operation
		t.Run("history", func(t *testing.T) { h = recordHistory(t) })
		operations += len(h)
		for _, o := range h {
			if o.Output.(outcome).unknown {
				unknown++
			}
		}
		isLinearisable(t, h)
		if n == 0 {
			alteredHistoriesAreRefused(t, h)
		}
	}
	t.Logf("%d histories, %d operations, %d of unknown outcome", max(1, *rounds), operations, unknown)
}

func isLinearisable(t *testing.T, h []porcupine.Operation) {
	t.Helper()
	model := creditModel(signupCredits)
	for _, part := range model.Partition(h) {
		result := porcupine.CheckOperationsTimeout(model, part, checkMax)
		if result == porcupine.Ok {
			continue
		}
		t.Errorf("the history of %s is %s from here:", part[0].Input.(deed).user, result)
		for _, o := range untilImpossible(model, part) {
			t.Errorf("%10d %10d %d %s", o.Call, o.Return, o.ClientId, model.DescribeOperation(o.Input, o.Output))
		}
	}
}

// untilImpossible is the end of the shortest part of a history that is impossible as the
// history is.
func untilImpossible(model porcupine.Model, h []porcupine.Operation) []porcupine.Operation {
	slices.SortFunc(h, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	cut := func(n int) []porcupine.Operation {
		part := slices.Clone(h[:n])
		for _, o := range h[n:] { // was under way, or had not begun
			if n > 0 && o.Call < h[n-1].Return && o.Input.(deed).what != reads {
				o.Output, o.Return = outcome{unknown: true}, math.MaxInt64
				part = append(part, o)
			}
		}
		return part
	}
	n := sort.Search(len(h), func(n int) bool {
		return porcupine.CheckOperationsTimeout(model, cut(n), checkMax) != porcupine.Ok
	})
	const before = 12
	part := cut(n)
	slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return part[max(0, len(part)-before):]
}

// alteredHistoriesAreRefused shows that the checker can tell: one answer that is not what
// it was makes a history impossible.
func alteredHistoriesAreRefused(t *testing.T, h []porcupine.Operation) {
	t.Helper()
	charged := func(in deed, out outcome) bool {
		return in.what == spends && !out.unknown && !out.refused && !out.replayed
	}
	replayed := func(in deed, out outcome) bool { return in.what == spends && out.replayed }
	read := func(in deed, out outcome) bool { return in.what == reads }
	for _, lie := range []struct {
		name string
		fits func(deed, outcome) bool
		tell func(deed, *outcome)
	}{
		{"a charge that leaves a credit too many", charged, func(_ deed, o *outcome) { o.available++ }},
		{"a charge that is refused though there is enough", charged, func(in deed, o *outcome) {
			*o = outcome{refused: true, available: o.available + in.credits}
		}},
		{"a charge that stands behind what came later", charged, func(_ deed, o *outcome) { o.position += 1 << 40 }},
		{"a replay that says something else", replayed, func(_ deed, o *outcome) { o.available++ }},
		{"a replay that stands somewhere else", replayed, func(_ deed, o *outcome) { o.position++ }},
		{"a replay that was a charge of its own", replayed, func(_ deed, o *outcome) { o.replayed = false }},
		{"a read that misses a charge", read, func(_ deed, o *outcome) { o.available++ }},
		{"a read that counts a payment twice", read, func(_ deed, o *outcome) { o.available += smallCredits }},
	} {
		altered := slices.Clone(h)
		at := slices.IndexFunc(altered, func(o porcupine.Operation) bool {
			return lie.fits(o.Input.(deed), o.Output.(outcome)) && isAlone(o, h)
		})
		if at < 0 {
			t.Errorf("the history has nothing to make %s of", lie.name)
			continue
		}
		told := &altered[at]
		out := told.Output.(outcome)
		lie.tell(told.Input.(deed), &out)
		told.Output = out
		if got := porcupine.CheckOperationsTimeout(creditModel(signupCredits), altered, checkMax); got != porcupine.Illegal {
			t.Errorf("a history with %s is %s", lie.name, got)
		}
	}
}

// isAlone tells whether nothing else that concerns its account may happen meanwhile: it
// could make a lie true.
func isAlone(o porcupine.Operation, h []porcupine.Operation) bool {
	return !slices.ContainsFunc(h, func(p porcupine.Operation) bool {
		return p != o && p.Input.(deed).user == o.Input.(deed).user && p.Call < o.Return && o.Call < p.Return
	})
}

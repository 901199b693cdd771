package ledger

import (
	"fmt"
	"slices"
	"time"

	"truebond/events"
)

// A lotPart is some credits of the lot at an index.
type lotPart struct {
	at      int
	credits int64
}

// Spend uses credits up. It refuses when fewer are available, and while there is a
// debt (`insufficient_credits`), and credits of too many lots at once (`too_many_lots`).
func (a Account) Spend(credits int64, use string, now time.Time) (Effect, error) {
	if err := checkUse(use); err != nil {
		return Effect{}, err
	}
	var few [4]lotPart
	parts, available, err := a.pick(few[:0], credits, now)
	if err != nil {
		return Effect{}, err
	}
	moves := make([]events.Move, 0, 2*len(parts))
	for _, p := range parts {
		l := a.Lots[p.at]
		moves = append(moves, events.Move{
			From: events.LotOf(a.User, l.ID), To: spentAccount(l.Kind, use),
			Asset: events.Credit, Amount: p.credits,
		})
	}
	for _, p := range parts {
		l := a.Lots[p.at]
		s := l.spent()
		if earned := l.worth(s+p.credits) - l.worth(s); earned > 0 {
			moves = append(moves, events.Move{
				From: revenueAccount(use), To: events.Deferred(l.ID), Asset: l.Currency, Amount: earned,
			})
		}
	}
	return Effect{Moves: moves, Available: available - credits}, nil
}

// pick chooses the credits to spend, in the order of spending, and tells how many
// there were to choose from.
func (a Account) pick(into []lotPart, credits int64, now time.Time) ([]lotPart, int64, error) {
	if err := checkCredits(credits); err != nil {
		return nil, 0, err
	}
	var available int64
	left := credits
	for i, l := range a.Lots {
		free := l.spendable(now)
		if part := min(free, left); part > 0 {
			into = append(into, lotPart{i, part})
			left -= part
		}
		available += free
	}
	if debt := a.Debt(); debt > 0 {
		refusal := Refuse(CodeInsufficientCredits, "%s owed; the next purchase pays that first.", creditsAre(debt))
		return nil, 0, refusal.With("available", int64(0)).With("required", credits).With("debt", debt)
	}
	if left > 0 {
		refusal := Refuse(CodeInsufficientCredits, "%s needed and %s left.", creditsAre(credits), are(available))
		return nil, 0, refusal.With("available", available).With("required", credits)
	}
	if len(into) > partsMax {
		return nil, 0, Refuse(CodeTooManyLots, "These credits are from %d purchases; one charge takes from %d at most.",
			len(into), partsMax).About("credits")
	}
	return into, available, nil
}

// Undo gives back what an event has spent, to the lots that it came from, and tells how
// many credits that is. What goes back to a lot that expired meanwhile is breakage. It
// refuses an event that spent nothing of this user's (`nothing_to_undo`) and one that
// was undone before (`already_undone`).
func (a Account) Undo(spent events.Event, now time.Time) (Effect, int64, error) {
	if slices.Contains(a.Undone, spent.Position) {
		return Effect{}, 0, Refuse(CodeAlreadyUndone, "This was undone before.")
	}
	var shares []events.LotShare
	var credits int64
	for _, m := range spent.Moves {
		lot, _, ok := a.lotOf(m.From)
		use, spends := spentOn(m.To)
		if !ok || !spends || a.lot(lot) == nil {
			continue
		}
		shares = append(shares, events.LotShare{Lot: lot, Use: use, Credits: m.Amount})
		credits += m.Amount
	}
	if len(shares) == 0 {
		return Effect{}, 0, Refuse(CodeNothingToUndo, "This has spent none of the user's credits.")
	}
	e := a.effect(a.undone(spent.Position, shares), now)
	e.Lots = shares
	return e, credits, nil
}

func (a Account) undone(position uint64, shares []events.LotShare) Account {
	a.Undone = append(slices.Clip(a.Undone), position)
	a.Lots = slices.Clone(a.Lots)
	for _, s := range shares {
		if l := a.own(s.Lot); l != nil {
			l.spend(-s.Credits, s.Use)
		}
	}
	a.settle()
	return a
}

// spentAccount is events.Spent without making a string for what is common.
func spentAccount(kind events.CreditKind, use string) events.Account {
	switch {
	case kind == events.Paid && use == UseMessages:
		return "spent/paid/messages"
	case kind == events.Promotional && use == UseMessages:
		return "spent/promotional/messages"
	}
	return events.Spent(kind, use)
}

// revenueAccount is events.Revenue without making a string for what is common.
func revenueAccount(use string) events.Account {
	if use == UseMessages {
		return "revenue/messages"
	}
	return events.Revenue(use)
}

// creditsAre is the start of a sentence about a number of credits.
func creditsAre(n int64) string {
	if n == 1 {
		return "1 credit is"
	}
	return fmt.Sprintf("%d credits are", n)
}

// are is a number and its verb.
func are(n int64) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

package ledger

import (
	"slices"
	"strings"

	"truebond/events"
)

// Accounts are the users' accounts, by the user's id.
var Accounts = events.Fold[Account]{
	Name:    "accounts",
	Version: 1,
	Keys:    accountsOf,
	Evolve:  func(a Account, user string, e events.Event) (Account, bool) { return a.after(user, e), true },
}

// accountsOf are the users whose account an event touches.
func accountsOf(e events.Event) []string {
	var users []string
	add := func(user string) {
		if user != "" && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	for i := range e.Moves {
		add(e.Moves[i].From.User())
		add(e.Moves[i].To.User())
	}
	switch d := e.Data.(type) { // these may change an account and move nothing in its owner's name
	case events.PaymentFactsLearned:
		add(d.User)
	case events.SpendUndone:
		add(d.User)
	case events.LotExpired:
		add(d.User)
	}
	return users
}

// after is the account after an event. Spending and reserving are in the event's
// moves; what else changes an account has words of its own.
func (a Account) after(user string, e events.Event) Account {
	a.User = user
	switch d := e.Data.(type) {
	case events.UserSignedUp:
		if d.Bonus == nil {
			return a
		}
		return a.granted(*d.Bonus)
	case events.PaymentGranted:
		return a.granted(d.Lot)
	case events.CreditsReserved:
		return a.reserved(d, e.Moves)
	case events.HoldCaptured:
		return a.captured(d.Hold, d.Credits)
	case events.HoldReleased:
		return a.captured(d.Hold, 0)
	case events.SpendUndone:
		return a.undone(d.Undoes, d.Lots)
	case events.LotExpired:
		return a.expired(d.Lot)
	case events.PaymentFactsLearned:
		return a.learned(d.Intent, d.Facts)
	case events.DebtForgiven:
		return a.forgave(d.Credits)
	}
	return a.spent(e.Moves)
}

// spent applies the moves that spend this user's free credits. What takings and
// covers come to cannot change by it: only what is free is spent.
func (a Account) spent(moves []events.Move) Account {
	copied := false
	for i := range moves {
		lot, held, ok := a.lotOf(moves[i].From)
		use, spends := spentOn(moves[i].To)
		if !ok || held || !spends {
			continue
		}
		if !copied {
			a.Lots = slices.Clone(a.Lots)
			copied = true
		}
		if l := a.own(lot); l != nil {
			l.spend(moves[i].Amount, use)
		}
	}
	return a
}

// reserved applies the moves that set this user's credits aside.
func (a Account) reserved(d events.CreditsReserved, moves []events.Move) Account {
	hold := HoldState{ID: d.Hold, Use: d.Use, ExpiresAt: d.ExpiresAt}
	a.Lots = slices.Clone(a.Lots)
	for i := range moves {
		_, _, from := a.lotOf(moves[i].From)
		lot, held, to := a.lotOf(moves[i].To)
		if !from || !to || !held {
			continue
		}
		if l := a.own(lot); l != nil {
			l.Held += moves[i].Amount
			hold.Parts = append(hold.Parts, HoldPart{Lot: lot, Credits: moves[i].Amount})
		}
	}
	a.Holds = append(slices.Clip(a.Holds), hold)
	return a
}

// lotOf reads the path of one of this user's lots; ok is false for other accounts,
// the user's debt among them.
func (a Account) lotOf(account events.Account) (lot string, held, ok bool) {
	rest, ok := strings.CutPrefix(string(account), "user/")
	if !ok {
		return "", false, false
	}
	if rest, ok = strings.CutPrefix(rest, a.User); !ok {
		return "", false, false
	}
	if rest, ok = strings.CutPrefix(rest, "/"); !ok || rest == "debt" {
		return "", false, false
	}
	lot, held = strings.CutSuffix(rest, "/held")
	return lot, held, true
}

// spentOn is what an account of spent credits is for.
func spentOn(account events.Account) (use string, ok bool) {
	rest, ok := strings.CutPrefix(string(account), "spent/")
	if !ok {
		return "", false
	}
	_, use, ok = strings.Cut(rest, "/")
	return use, ok
}

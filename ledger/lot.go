package ledger

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"truebond/events"
)

// A LotState is a lot and what became of its credits. What is neither spent, held, taken back nor covering
// a debt is free. As part of an account it is never changed: changes are made to a copy (see own).
type LotState struct {
	events.Lot
	Uses    []LotUse `json:"uses,omitempty"`
	Held    int64    `json:"held,omitempty"`
	Expired bool     `json:"expired,omitempty"` // an event has ended it: what is free is breakage

	// These three follow from the payment's facts and the other lots; settle writes them.
	Taken   int64 `json:"taken,omitempty"`   // credits taken back from the lot
	Deficit int64 `json:"deficit,omitempty"` // credits to take back that were not there any more
	Covers  int64 `json:"covers,omitempty"`  // credits that pay the user's deficits
}

// A LotUse is what a lot's credits were spent on, and what that has earned. Earned may
// be off by a minor unit below zero: undoing gives back the dearest credits.
type LotUse struct {
	Use     string `json:"use"`
	Credits int64  `json:"credits"`
	Earned  int64  `json:"earned,omitempty"` // minor units
}

// Grant adds a lot. A lot that a payment paid for pays debts at once. It refuses a lot
// that does not hold together (`invalid_request`), one that the account has already
// (`already_granted`), and more lots or credits than an account can hold (`too_many_lots`,
// `too_many_credits`).
func (a Account) Grant(user string, lot events.Lot, now time.Time) (Effect, error) {
	if err := checkLot(lot, now); err != nil {
		return Effect{}, err
	}
	if !inPath(user) {
		return Effect{}, Refuse(CodeInvalidRequest, "The user's id is not one.").About("user")
	}
	if len(a.Lots) >= lotsMax {
		return Effect{}, Refuse(CodeTooManyLots, "One user can have %d lots at most.", lotsMax)
	}
	granted := lot.Credits
	for _, l := range a.Lots {
		if l.ID == lot.ID || lot.Payment != "" && l.Payment == lot.Payment {
			return Effect{}, Refuse(CodeAlreadyGranted, "These credits were granted before.")
		}
		granted += l.Credits
	}
	if granted > creditsMax {
		return Effect{}, Refuse(CodeTooManyCredits, "One user can be granted %d credits at most.", int64(creditsMax))
	}
	a.User = user
	return a.effect(a.granted(lot), now), nil
}

// ExpireLot ends a lot whose time is over, and tells how many credits were free in it.
// It refuses a lot that is not there or has ended (`lot_not_found`) and one whose time
// is not over (`lot_not_expired`).
func (a Account) ExpireLot(lot string, now time.Time) (Effect, int64, error) {
	l := a.lot(lot)
	switch {
	case l == nil || l.Expired:
		return Effect{}, 0, Refuse(CodeLotNotFound, "There is no such lot that could expire.").About("lot")
	case !l.over(now):
		return Effect{}, 0, Refuse(CodeLotNotExpired, "The lot's time is not over.").About("lot")
	}
	return a.effect(a.expired(lot), now), l.free(), nil
}

func (a Account) granted(lot events.Lot) Account {
	at, _ := slices.BinarySearchFunc(a.Lots, lot, func(l *LotState, lot events.Lot) int {
		return cmp.Or(compareLots(&l.Lot, &lot), -1) // among equals the oldest is first
	})
	a.Lots = slices.Insert(slices.Clone(a.Lots), at, &LotState{Lot: lot})
	a.settle()
	return a
}

func (a Account) expired(lot string) Account {
	a.Lots = slices.Clone(a.Lots)
	if l := a.own(lot); l != nil {
		l.Expired = true
	}
	a.settle()
	return a
}

// effect is what it takes to get from this account to another one.
func (a Account) effect(after Account, now time.Time) Effect {
	return Effect{Moves: movesBetween(a, after), Available: after.Available(now)}
}

// compareLots orders lots as they are spent; lots that compare equal go by age.
func compareLots(a, b *events.Lot) int {
	promotionalFirst := func(l *events.Lot) int {
		if l.Kind == events.Promotional {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.Priority, b.Priority),
		cmp.Compare(promotionalFirst(a), promotionalFirst(b)),
		compareExpiries(a.ExpiresAt, b.ExpiresAt),
	)
}

// compareExpiries puts what never expires last.
func compareExpiries(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}

func (l *LotState) spent() int64 {
	var credits int64
	for i := range l.Uses {
		credits += l.Uses[i].Credits
	}
	return credits
}

// free is what nothing else claims. In an expired lot it is breakage.
func (l *LotState) free() int64 { return l.Credits - l.spent() - l.Held - l.Taken - l.Covers }

// spendable is what is free and still good.
func (l *LotState) spendable(now time.Time) int64 {
	if l.over(now) {
		return 0
	}
	return l.free()
}

// over tells whether the lot's time is over, even if no event has said so yet.
func (l *LotState) over(now time.Time) bool {
	return l.Expired || !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt)
}

// worth is the net price of the lot's first credits, in minor units: F in the books.
func (l *LotState) worth(credits int64) int64 { return shareOf(l.Price, credits, l.Credits) }

// spend counts credits as spent, or with a negative number as not spent after all,
// and what they earn.
func (l *LotState) spend(credits int64, use string) {
	before := l.spent()
	at := slices.IndexFunc(l.Uses, func(u LotUse) bool { return u.Use == use })
	if at < 0 {
		at = len(l.Uses)
		l.Uses = append(slices.Clip(l.Uses), LotUse{Use: use})
	} else {
		l.Uses = slices.Clone(l.Uses)
	}
	l.Uses[at].Credits += credits
	l.Uses[at].Earned += l.worth(before+credits) - l.worth(before)
}

// checkLot refuses a lot that does not hold together.
func checkLot(lot events.Lot, now time.Time) error {
	refuse := func(field, why string) error {
		return Refuse(CodeInvalidRequest, "The lot cannot be granted: %s.", why).About(field)
	}
	if err := checkCredits(lot.Credits); err != nil {
		return err
	}
	switch {
	case !inPath(lot.ID) || lot.ID == "debt":
		return refuse("id", "its id cannot be part of an account's path")
	case !lot.ExpiresAt.IsZero() && !lot.ExpiresAt.After(now):
		return refuse("expires_at", "its time is over")
	}
	switch lot.Kind {
	case events.Promotional:
		if lot.Price != 0 || lot.Tax != 0 || lot.Currency != "" || lot.Payment != "" {
			return refuse("price", "nothing is paid for promotional credits")
		}
	case events.Paid:
		switch {
		case lot.Price <= 0 || lot.Price > moneyMax:
			return refuse("price", "its price is out of range")
		case lot.Tax < 0 || lot.Tax > moneyMax-lot.Price:
			return refuse("tax", "its tax is out of range")
		case !lot.Currency.IsCurrency():
			return refuse("currency", "its currency is not accepted")
		case lot.Payment == "":
			return refuse("payment", "it names no payment")
		}
	default:
		return refuse("kind", "its kind is neither paid nor promotional")
	}
	return nil
}

// inPath tells whether an id can be a part of an account's path.
func inPath(id string) bool { return id != "" && !strings.Contains(id, "/") }

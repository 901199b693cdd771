package ledger

import (
	"cmp"
	"slices"
	"time"

	"truebond/events"
)

// creditsMax bounds all that a user is ever granted. Then no sum of their credits
// overflows, and JSON readers that know only doubles see each exactly.
const creditsMax = 1 << 53

// moneyMax bounds what one payment comes to, in minor units, for the same reasons.
const moneyMax = 1 << 53

const (
	// lotsMax bounds a user's lots, and so a document's size.
	lotsMax = 5000
	// lotsWishedMax is how many a user may have who wants to buy another one. The rest is for
	// wishes from before.
	lotsWishedMax = 4000
	// partsMax bounds the lots that one charge takes from, and so an event's size.
	partsMax = 400
)

// What credits are spent on.
const (
	UseMessages = "messages"
	UseCalls    = "calls"
	UseOther    = "other"
)

// An Account is all that decides what a user may spend: their lots, what holds have
// set aside, what Stripe has said of their payments, and what they were forgiven.
// The zero value is a user with nothing.
//
// An account is never changed: each change makes another one, which shares with the old
// one what neither changes. So a lot is copied before it is changed (see own); a user's
// hundred spent lots cost a spend next to nothing.
type Account struct {
	User     string       `json:"user,omitempty"`
	Lots     []*LotState  `json:"lots,omitempty"`     // in the order of spending
	Holds    []HoldState  `json:"holds,omitempty"`    // in the order of reserving
	Facts    []KnownFacts `json:"facts,omitempty"`    // by intent, also of those that have no lot yet
	Forgiven int64        `json:"forgiven,omitempty"` // credits of debt that were let off
	Undone   []uint64     `json:"undone,omitempty"`   // positions of the events whose spending was undone
}

// KnownFacts are what is known of the money that went back of one payment.
type KnownFacts struct {
	Intent string              `json:"intent"`
	Facts  events.PaymentFacts `json:"facts"`
}

// An Effect is what a change moves and what the user may then spend.
type Effect struct {
	Moves     []events.Move
	Available int64             // credits
	Lots      []events.LotShare // of an undoing: which lots the credits go back to
}

// Available is what the user may spend: credits that are free in lots whose time is
// not over. It is 0 while there is a debt.
func (a Account) Available(now time.Time) int64 {
	if a.Debt() > 0 {
		return 0
	}
	return a.free(now, events.Promotional) + a.free(now, events.Paid)
}

// Promotional is how many given credits are free, whether or not a debt blocks them.
func (a Account) Promotional(now time.Time) int64 { return a.free(now, events.Promotional) }

// Paid is how many bought credits are free. While there is a debt there are none.
func (a Account) Paid(now time.Time) int64 { return a.free(now, events.Paid) }

// Held is how many credits holds have set aside.
func (a Account) Held() int64 {
	var credits int64
	for _, l := range a.Lots {
		credits += l.Held
	}
	return credits
}

// Debt is how many credits the user owes after refunds and disputes.
func (a Account) Debt() int64 {
	var deficit, covered int64
	for _, l := range a.Lots {
		deficit += l.Deficit
		covered += l.Covers
	}
	return deficit - min(a.Forgiven, deficit) - covered
}

// A LotBalance is what a user sees of a lot.
type LotBalance struct {
	ID        string
	Kind      events.CreditKind
	Remaining int64     // credits that are free
	ExpiresAt time.Time // zero if never
}

// LotsOf are the lots that have free credits, in the order of spending.
func (a Account) LotsOf(now time.Time) []LotBalance {
	var lots []LotBalance
	for _, l := range a.Lots {
		if free := l.spendable(now); free > 0 {
			lots = append(lots, LotBalance{l.ID, l.Kind, free, l.ExpiresAt})
		}
	}
	return lots
}

// FactsOf are what is known of the money that went back of one payment.
func (a Account) FactsOf(intent string) events.PaymentFacts {
	at, found := a.factsAt(intent)
	if !found {
		return events.PaymentFacts{}
	}
	return a.Facts[at].Facts
}

func (a Account) factsAt(intent string) (at int, found bool) {
	return slices.BinarySearchFunc(a.Facts, intent, func(k KnownFacts, intent string) int {
		return cmp.Compare(k.Intent, intent)
	})
}

func (a Account) free(now time.Time, kind events.CreditKind) int64 {
	var credits int64
	for _, l := range a.Lots {
		if l.Kind == kind {
			credits += l.spendable(now)
		}
	}
	return credits
}

// lot is the lot of an id in this account; nil if there is none.
func (a Account) lot(id string) *LotState {
	if at := a.lotAt(id); at >= 0 {
		return a.Lots[at]
	}
	return nil
}

func (a Account) lotAt(id string) int {
	return slices.IndexFunc(a.Lots, func(l *LotState) bool { return l.ID == id })
}

// own makes the lot of an id this account's own, so that it can be changed; nil if there
// is none. The list of lots must be this account's own already.
func (a Account) own(id string) *LotState {
	at := a.lotAt(id)
	if at < 0 {
		return nil
	}
	l := *a.Lots[at]
	a.Lots[at] = &l
	return &l
}

// checkCredits refuses an amount that nobody can mean.
func checkCredits(credits int64) error {
	if credits <= 0 || credits > creditsMax {
		return Refuse(CodeInvalidRequest, "The credits must be from 1 to %d.", int64(creditsMax)).About("credits")
	}
	return nil
}

// checkUse refuses a use that the chart of accounts does not know.
func checkUse(use string) error {
	switch use {
	case UseMessages, UseCalls, UseOther:
		return nil
	}
	return Refuse(CodeInvalidRequest, "Credits are spent on messages, calls or other.").About("use")
}

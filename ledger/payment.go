package ledger

import (
	"cmp"
	"strings"
	"time"

	"truebond/events"
)

// PaymentStatus is how far a payment is. What went back later is in the account.
type PaymentStatus string

// The states of a payment. A canceled one that is paid all the same becomes granted.
const (
	PaymentIntended PaymentStatus = "intended"
	PaymentGranted  PaymentStatus = "granted"
	PaymentCanceled PaymentStatus = "canceled"
)

// A Payment is a wish to buy, and whether it was paid.
type Payment struct {
	Intent       string        `json:"intent"`
	Position     uint64        `json:"position"` // of the event that intended it
	IntendedAt   time.Time     `json:"intended_at"`
	User         string        `json:"user"`
	Package      string        `json:"package"`
	Credits      int64         `json:"credits"`
	Amount       int64         `json:"amount"` // minor units, tax included
	Tax          int64         `json:"tax,omitempty"`
	Currency     events.Asset  `json:"currency"`
	Lot          string        `json:"lot"`
	Status       PaymentStatus `json:"status"` // empty: there is no such payment
	ClientSecret events.Sealed `json:"client_secret"`
}

// Payments are all wishes to buy, by the id of the PaymentIntent.
var Payments = events.Fold[Payment]{
	Name:    "payments",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.PaymentIntended:
			return []string{d.Intent}
		case events.PaymentGranted:
			return []string{d.Intent}
		case events.PaymentCanceled:
			return []string{d.Intent}
		}
		return nil
	},
	Evolve: func(p Payment, _ string, e events.Event) (Payment, bool) {
		switch d := e.Data.(type) {
		case events.PaymentIntended:
			return Payment{
				Intent: d.Intent, Position: e.Position, IntendedAt: e.Time, User: d.User,
				Package: d.Package, Credits: d.Credits, Amount: d.Amount, Tax: d.Tax,
				Currency: d.Currency, Lot: d.Lot, Status: PaymentIntended, ClientSecret: d.ClientSecret,
			}, true
		case events.PaymentGranted:
			p.Status = PaymentGranted
		case events.PaymentCanceled:
			p.Status = PaymentCanceled
		}
		return p, true
	},
}

// NewIntent is a wish to buy for which Stripe has made a PaymentIntent.
type NewIntent struct {
	User         string
	Intent       string // Stripe's `pi_…`
	Lot          string // the id that the lot will have
	Quote        Quote  // what Stripe was asked for
	ClientSecret events.Sealed
}

// IntendPayment notes a wish to buy. It refuses when the packages have changed since
// the quote (`packages_changed`): the buyer is to see the new price first. Who has bought
// too often is refused too (`too_many_lots`).
func IntendPayment(n NewIntent) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkUser(tx, n.User, ""); err != nil {
			return nil, nil, err
		}
		if Load(tx, Payments, n.Intent).Status != "" {
			return nil, nil, Refuse(CodeIntentExists, "This payment is known already.")
		}
		if len(Load(tx, Accounts, n.User).Lots) >= lotsWishedMax {
			return nil, nil, Refuse(CodeTooManyLots, "No more than %d purchases are kept for one user.", lotsWishedMax)
		}
		packages := Load(tx, Packages, Current)
		quote, err := QuotePackage(packages, n.Quote.Package, n.Quote.Currency)
		if packages.Version != n.Quote.Packages || err == nil && quote != n.Quote {
			return nil, nil, Refuse(CodePackagesChanged, "The packages have just changed. Look at them and try again.")
		}
		if err != nil {
			return nil, nil, err
		}
		return events.PaymentIntended{
			User: n.User, Intent: n.Intent, Package: quote.Package, Packages: quote.Packages,
			Credits: quote.Credits, Amount: quote.Amount, Tax: quote.Tax, Currency: quote.Currency,
			Lot: n.Lot, ClientSecret: n.ClientSecret,
		}, nil, nil
	}
}

// CancelPayment takes a wish to buy back. It refuses what is not this user's
// (`not_found`), paid (`payment_granted`), or canceled already (`nothing_to_do`).
func CancelPayment(user, intent string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		p := Load(tx, Payments, intent)
		switch {
		case p.Status == "" || p.User != user:
			return nil, nil, notFound("payment")
		case p.Status == PaymentGranted:
			return nil, nil, Refuse(CodePaymentGranted, "The payment was made, and its credits are here.")
		case p.Status == PaymentCanceled:
			return nil, nil, Refuse(CodeNothingToDo, "The payment is canceled already.")
		}
		return events.PaymentCanceled{User: user, Intent: intent}, nil, nil
	}
}

// An Announcement is what a webhook whose signature was verified says of a payment.
type Announcement struct {
	StripeEvent string // its id
	StripeType  string
	Created     time.Time // when it happened at Stripe
	Object      string    // the id of what it is about
	Intent      string    // the PaymentIntent that was paid; empty if it names none
	Amount      int64     // what was paid, in minor units
	Currency    string
	Paid        bool // the money is there
}

// ConfirmPayment grants what was paid, once for a PaymentIntent, also when it was
// canceled meanwhile. A payment that differs from our intent, or whose buyer's account has
// no room for it, becomes PaymentMismatched and leaves the intent payable. What changes
// nothing becomes StripeEventNoted: money that is not there yet, an intent that is not ours
// or granted already, a type that announces no payment. It refuses nothing that Stripe may
// say, since Stripe would only ask again; only credits beyond what an account can count
// (`too_many_credits`).
func ConfirmPayment(a Announcement) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if !announcesPayment(a.StripeType) {
			return a.noted("nothing is done about events of this type")
		}
		if !a.Paid {
			return a.noted("the money is not there")
		}
		p := Load(tx, Payments, a.Intent)
		switch p.Status {
		case PaymentIntended, PaymentCanceled:
		case PaymentGranted:
			return a.noted("its credits were granted before")
		default:
			return a.noted("the payment is none of ours")
		}
		why := a.differsFrom(p)
		if why == "" && len(Load(tx, Accounts, p.User).Lots) >= lotsMax {
			why = "the user has bought too often to be granted more"
		}
		if why != "" {
			return events.PaymentMismatched{
				User: p.User, Intent: a.Intent, StripeEvent: a.StripeEvent, StripeType: a.StripeType,
				Amount: a.Amount, Currency: a.Currency, Why: why,
			}, nil, nil
		}
		lot := events.Lot{
			ID: p.Lot, Kind: events.Paid, Credits: p.Credits, Price: p.Amount - p.Tax, Tax: p.Tax,
			Currency: p.Currency, Payment: a.Intent,
		}
		effect, err := Load(tx, Accounts, p.User).Grant(p.User, lot, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.PaymentGranted{
			User: p.User, Intent: a.Intent, StripeEvent: a.StripeEvent, StripeType: a.StripeType,
			Lot: lot, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// announcesPayment tells the types that may say that a PaymentIntent was paid. Two of
// them may come for one.
func announcesPayment(stripeType string) bool {
	switch stripeType {
	case "payment_intent.succeeded", "checkout.session.completed", "checkout.session.async_payment_succeeded":
		return true
	}
	return false
}

// differsFrom tells how a payment differs from the intent; nothing if it does not.
func (a Announcement) differsFrom(p Payment) string {
	switch {
	case !strings.EqualFold(a.Currency, string(p.Currency)):
		return "the currency is another one"
	case a.Amount != p.Amount:
		return "the amount is another one"
	}
	return ""
}

// noted keeps a verified webhook that changes nothing here, and why.
func (a Announcement) noted(why string) (events.Payload, []events.Move, error) {
	return events.StripeEventNoted{
		StripeEvent: a.StripeEvent, StripeType: a.StripeType, Object: cmp.Or(a.Object, a.Intent), Why: why,
	}, nil, nil
}

// LearnPaymentFacts takes in what Stripe says of a payment's refunds and disputes, in
// any order and as often as it likes. Of a payment that is none of ours it keeps a note.
func LearnPaymentFacts(a Announcement, facts events.PaymentFacts) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		p := Load(tx, Payments, a.Intent)
		if p.Status == "" {
			return a.noted("the payment is none of ours")
		}
		effect, err := Load(tx, Accounts, p.User).Learn(p.User, a.Intent, facts, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.PaymentFactsLearned{
			User: p.User, Intent: a.Intent, StripeEvent: a.StripeEvent, Facts: facts, Available: effect.Available,
		}, effect.Moves, nil
	}
}

package ledger

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	"truebond/events"
)

// factsMax bounds the refunds, the disputes and a dispute's transactions of one
// payment, so that their sums stay far below what 64 bits hold.
const factsMax = 500

// Learn merges what Stripe says of a payment's refunds and disputes, and takes back or
// gives back what follows from all that is known. Facts that come before the payment's
// lot are kept and move nothing. It refuses amounts out of range (`invalid_request`).
func (a Account) Learn(user, intent string, facts events.PaymentFacts, now time.Time) (Effect, error) {
	switch {
	case !inPath(user):
		return Effect{}, Refuse(CodeInvalidRequest, "The user's id is not one.").About("user")
	case intent == "":
		return Effect{}, Refuse(CodeInvalidRequest, "The facts name no payment.").About("intent")
	case !inRange(MergeFacts(a.FactsOf(intent), facts)):
		return Effect{}, Refuse(CodeInvalidRequest, "An amount of the payment is out of range.").About("facts")
	}
	a.User = user
	return a.effect(a.learned(intent, facts), now), nil
}

// Forgive lets the user off some of a debt. It refuses more than is owed (`no_such_debt`).
func (a Account) Forgive(credits int64, now time.Time) (Effect, error) {
	if err := checkCredits(credits); err != nil {
		return Effect{}, err
	}
	if debt := a.Debt(); credits > debt {
		return Effect{}, Refuse(CodeNoSuchDebt, "%s owed, and no more can be forgiven.", creditsAre(debt)).
			About("credits").With("debt", debt)
	}
	return a.effect(a.forgave(credits), now), nil
}

func (a Account) learned(intent string, facts events.PaymentFacts) Account {
	at, found := a.factsAt(intent)
	if found {
		a.Facts = slices.Clone(a.Facts)
	} else {
		a.Facts = slices.Insert(slices.Clone(a.Facts), at, KnownFacts{Intent: intent})
	}
	a.Facts[at].Facts = MergeFacts(a.Facts[at].Facts, facts)
	a.Lots = slices.Clone(a.Lots)
	a.settle()
	return a
}

func (a Account) forgave(credits int64) Account {
	a.Forgiven += credits // no lot changes: while there is a debt, all that can cover it does
	return a
}

// settle works out, from the facts alone, what is taken back from each lot, and which
// bought credits pay for what was not there any more: those of expired lots first, then
// in the order of spending. The list of lots must be this account's own.
func (a Account) settle() {
	settled := make([]LotState, len(a.Lots))
	var deficit int64
	for i, was := range a.Lots {
		l := &settled[i]
		*l = *was
		refunded, disputed := l.moneyBack(a.FactsOf(l.Payment))
		back := min(l.Credits, shareOf(refunded+disputed, l.Credits, l.Price+l.Tax))
		l.Taken = min(back, l.Credits-l.spent()-l.Held)
		l.Deficit = back - l.Taken
		l.Covers = 0
		deficit += l.Deficit
	}
	deficit -= min(a.Forgiven, deficit)
	for _, expired := range []bool{true, false} {
		for i := range settled {
			l := &settled[i]
			if l.Kind == events.Paid && l.Expired == expired {
				l.Covers = min(l.free(), deficit)
				deficit -= l.Covers
			}
		}
	}
	for i, was := range a.Lots {
		is := settled[i]
		if is.Taken != was.Taken || is.Deficit != was.Deficit || is.Covers != was.Covers {
			a.Lots[i] = &is
		}
	}
}

// moneyBack is how much of a lot's payment went back by refunds and by disputes, in
// minor units: R and D in the books.
func (l *LotState) moneyBack(f events.PaymentFacts) (refunded, disputed int64) {
	if l.Price+l.Tax == 0 {
		return 0, 0
	}
	return refundedBy(f), disputedBy(f)
}

// refundedBy takes the greater of what the refunds say one by one and what their total
// says; the total does not fall when a refund fails.
func refundedBy(f events.PaymentFacts) int64 {
	var live, dead int64
	for _, r := range f.Refunds {
		if r.Status == events.RefundFailed || r.Status == events.RefundCanceled {
			dead += r.Amount
		} else {
			live += r.Amount
		}
	}
	return max(live, f.AmountRefunded-dead)
}

// disputedBy counts only what transactions have moved: of each dispute's amount, the
// share of the withdrawn money that was not reinstated.
func disputedBy(f events.PaymentFacts) int64 {
	var sum int64
	for _, d := range f.Disputes {
		var withdrawn, reinstated int64
		for _, amount := range d.Transactions {
			if amount < 0 {
				withdrawn -= amount
			} else {
				reinstated += amount
			}
		}
		sum += shareOf(d.Amount, max(0, withdrawn-reinstated), withdrawn)
	}
	return sum
}

// MergeFacts is what two reports of one payment say together: each refund and dispute
// that either names, each amount and status as far as either has got. It is commutative,
// associative and idempotent, so that order and repeats do not matter.
func MergeFacts(a, b events.PaymentFacts) events.PaymentFacts {
	return events.PaymentFacts{
		AmountRefunded: max(a.AmountRefunded, b.AmountRefunded),
		Refunds:        mergeMaps(a.Refunds, b.Refunds, mergeRefunds),
		Disputes:       mergeMaps(a.Disputes, b.Disputes, mergeDisputes),
	}
}

func mergeRefunds(a, b events.Refund) events.Refund {
	return events.Refund{Amount: max(a.Amount, b.Amount), Status: laterStatus(a.Status, b.Status)}
}

func mergeDisputes(a, b events.Dispute) events.Dispute {
	return events.Dispute{
		Amount:       max(a.Amount, b.Amount),
		Transactions: mergeMaps(a.Transactions, b.Transactions, func(x, y int64) int64 { return max(x, y) }),
	}
}

func mergeMaps[V any](a, b map[string]V, merge func(a, b V) V) map[string]V {
	if len(a)+len(b) == 0 {
		return nil
	}
	both := make(map[string]V, len(a)+len(b))
	for _, report := range []map[string]V{a, b} {
		for id, v := range report {
			known, ok := both[id]
			if !ok {
				known = v
			}
			both[id] = merge(known, v)
		}
	}
	return both
}

// laterStatus is the one that a refund comes to later; among equals the text decides,
// so that the order of reports does not.
func laterStatus(a, b events.RefundStatus) events.RefundStatus {
	if cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) < 0 {
		return b
	}
	return a
}

// rank orders a refund's states in time; 0 is a word that we do not know.
func rank(s events.RefundStatus) int {
	switch s {
	case events.RefundRequiresAction:
		return 1
	case events.RefundPending:
		return 2
	case events.RefundSucceeded:
		return 3
	case events.RefundFailed, events.RefundCanceled:
		return 4
	}
	return 0
}

// inRange tells whether facts can be counted with.
func inRange(f events.PaymentFacts) bool {
	ok := func(amount int64) bool { return amount >= 0 && amount <= moneyMax }
	if !ok(f.AmountRefunded) || len(f.Refunds) > factsMax || len(f.Disputes) > factsMax {
		return false
	}
	for _, r := range f.Refunds {
		if !ok(r.Amount) {
			return false
		}
	}
	for _, d := range f.Disputes {
		if !ok(d.Amount) || len(d.Transactions) > factsMax {
			return false
		}
		for _, amount := range d.Transactions {
			if amount < -moneyMax || amount > moneyMax {
				return false
			}
		}
	}
	return true
}

// shareOf is ⌊amount·part/whole⌋, its product in 128 bits; 0 unless all are above zero.
// What does not fit is the greatest number there is, so that reading an event never fails.
func shareOf(amount, part, whole int64) int64 {
	if amount <= 0 || part <= 0 || whole <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(amount), uint64(part))
	if high >= uint64(whole) {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(high, low, uint64(whole))
	return int64(min(quotient, math.MaxInt64))
}

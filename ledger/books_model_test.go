package ledger_test

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"truebond/events"
)

// A model works the books out a second time, as plainly as the notes put them: from all
// that was accepted, from the first fact on, each time anew, with big integers.
type model struct {
	lots     []*modelLot                      // in the order of granting
	holds    map[string]*modelHold            // open ones
	reports  map[string][]events.PaymentFacts // by intent, as they came
	forgiven int64
	spends   map[uint64][]modelSpend // by the position of the event that spent
}

type modelLot struct {
	events.Lot
	spent   map[string]int64 // by use
	earned  map[string]int64 // by use
	held    int64
	expired bool
}

type modelSpend struct {
	lot     *modelLot
	use     string
	credits int64
}

type modelHold struct{ parts []modelSpend }

func newModel() *model {
	return &model{
		holds: map[string]*modelHold{}, reports: map[string][]events.PaymentFacts{},
		spends: map[uint64][]modelSpend{},
	}
}

// share is ⌊amount·part/whole⌋.
func share(amount, part, whole int64) int64 {
	if whole == 0 {
		return 0
	}
	product := new(big.Int).Mul(big.NewInt(amount), big.NewInt(part))
	return product.Div(product, big.NewInt(whole)).Int64()
}

func (l *modelLot) worth(k int64) int64 { return share(l.Price, k, l.Credits) }

func (l *modelLot) spentInAll() (s int64) {
	for _, credits := range l.spent {
		s += credits
	}
	return s
}

func (l *modelLot) spend(credits int64, use string) {
	s := l.spentInAll()
	l.earned[use] += l.worth(s+credits) - l.worth(s)
	l.spent[use] += credits
}

// moneyBack is R and D of a payment, from all reports of it.
func (m *model) moneyBack(intent string) (refunded, disputed int64) {
	order := map[events.RefundStatus]int{
		events.RefundRequiresAction: 1, events.RefundPending: 2, events.RefundSucceeded: 3,
		events.RefundFailed: 4, events.RefundCanceled: 4,
	}
	var most int64
	refunds, ranks := map[string]int64{}, map[string]int{}
	disputes, moved := map[string]int64{}, map[string]map[string]int64{}
	for _, r := range m.reports[intent] {
		most = max(most, r.AmountRefunded)
		for id, refund := range r.Refunds {
			refunds[id] = max(refunds[id], refund.Amount)
			ranks[id] = max(ranks[id], order[refund.Status])
		}
		for id, d := range r.Disputes {
			disputes[id] = max(disputes[id], d.Amount)
			if moved[id] == nil {
				moved[id] = map[string]int64{}
			}
			for transaction, amount := range d.Transactions {
				moved[id][transaction] = amount // the tests never report two amounts of one
			}
		}
	}
	var live, dead int64
	for id, amount := range refunds {
		if ranks[id] == 4 {
			dead += amount
		} else {
			live += amount
		}
	}
	for id, amount := range disputes {
		var out, in int64
		for _, x := range moved[id] {
			out, in = out+max(0, -x), in+max(0, x)
		}
		disputed += share(amount, max(0, out-in), out)
	}
	return max(live, most-dead), disputed
}

// settled is what the books call t, a, c and free of a lot, and R, D.
type settled struct{ back, taken, covers, free, refunded, disputed int64 }

// settle works out every lot, and the debt that is left.
func (m *model) settle() (lots map[*modelLot]*settled, debt, forgivenUsed int64) {
	lots = map[*modelLot]*settled{}
	var deficits int64
	for _, l := range m.lots {
		x := &settled{}
		if l.Kind == events.Paid {
			x.refunded, x.disputed = m.moneyBack(l.Payment)
			x.back = min(l.Credits, share(x.refunded+x.disputed, l.Credits, l.Price+l.Tax))
		}
		x.taken = min(x.back, l.Credits-l.spentInAll()-l.held)
		x.free = l.Credits - l.spentInAll() - l.held - x.taken
		deficits += x.back - x.taken
		lots[l] = x
	}
	forgivenUsed = min(m.forgiven, deficits)
	debt = deficits - forgivenUsed
	payers := m.inOrder()
	slices.SortStableFunc(payers, func(a, b *modelLot) int { return truth(b.expired) - truth(a.expired) })
	for _, l := range payers {
		if l.Kind == events.Paid {
			x := lots[l]
			x.covers = min(x.free, debt)
			x.free -= x.covers
			debt -= x.covers
		}
	}
	return lots, debt, forgivenUsed
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inOrder are the lots in the order of spending.
func (m *model) inOrder() []*modelLot {
	lots := slices.Clone(m.lots)
	never := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	expiry := func(l *modelLot) time.Time {
		if l.ExpiresAt.IsZero() {
			return never
		}
		return l.ExpiresAt
	}
	slices.SortStableFunc(lots, func(a, b *modelLot) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority),
			cmp.Compare(truth(a.Kind == events.Paid), truth(b.Kind == events.Paid)),
			expiry(a).Compare(expiry(b)))
	})
	return lots
}

// available is what may be spent, and each lot's part in the order of spending.
func (m *model) available(now time.Time) (credits int64, parts []modelSpend) {
	lots, debt, _ := m.settle()
	if debt > 0 {
		return 0, nil
	}
	for _, l := range m.inOrder() {
		if l.expired || !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt) {
			continue
		}
		if free := lots[l].free; free > 0 {
			credits += free
			parts = append(parts, modelSpend{lot: l, credits: free})
		}
	}
	return credits, parts
}

// take is the parts that make up so many credits.
func take(parts []modelSpend, credits int64, use string) []modelSpend {
	var taken []modelSpend
	for _, p := range parts {
		if part := min(p.credits, credits); part > 0 {
			taken = append(taken, modelSpend{p.lot, use, part})
			credits -= part
		}
	}
	return taken
}

// balances are the positions of all facts, in every account.
func (m *model) balances() balances {
	b := balances{}
	lots, _, forgivenUsed := m.settle()
	credit := func(account events.Account, amount int64) { b.add(account, events.Credit, amount) }
	for l, x := range lots {
		credit(events.HeldOf(holder, l.ID), l.held)
		if l.expired {
			credit(events.Expired(l.Kind), x.free)
		} else {
			credit(events.LotOf(holder, l.ID), x.free)
		}
		for use, credits := range l.spent {
			credit(events.Spent(l.Kind, use), credits)
		}
		credit(events.Issued(l.Kind), x.back-l.Credits)
		credit(events.DebtOf(holder), x.covers-(x.back-x.taken))
		m.addMoney(b, l, x)
	}
	credit(events.DebtOf(holder), forgivenUsed)
	credit(events.Forgiven, -forgivenUsed)
	return b
}

func (m *model) addMoney(b balances, l *modelLot, x *settled) {
	money := func(account events.Account, amount int64) { b.add(account, l.Currency, amount) }
	gross := l.Price + l.Tax
	s := l.spentInAll()
	taxBack := share(l.Tax, min(x.refunded, gross), gross)
	unearned := l.Price - l.worth(l.Credits-x.taken)
	refunds := max(0, x.refunded-taxBack-unearned)
	money(events.StripePending, gross-x.refunded-x.disputed)
	money(events.TaxPayable, taxBack-l.Tax)
	money(events.Refunds, refunds)
	money(events.Disputes, x.refunded-taxBack+x.disputed-unearned-refunds)
	for use, earned := range l.earned {
		money(events.Revenue(use), -earned)
	}
	left := l.worth(l.Credits - x.taken - x.covers)
	money(events.RevenueRecovered, left-l.worth(l.Credits-x.taken))
	if l.expired {
		money(events.Deferred(l.ID), l.worth(s)-l.worth(s+l.held))
		money(events.RevenueBreakage, l.worth(s+l.held)-left)
	} else {
		money(events.Deferred(l.ID), l.worth(s)-left)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

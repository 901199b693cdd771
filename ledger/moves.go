package ledger

import "truebond/events"

// A lotBooks is what one lot and its payment come to in each account but those of its
// uses. The credits sum to zero with what was spent, the money with what was earned.
type lotBooks struct {
	held, free, debt, expired, issued int64

	pending, deferred, tax, breakage, recovered, refunds, disputes int64
}

// booksOf works out what a lot comes to; the letters are those of the books.
func booksOf(l *LotState, facts events.PaymentFacts) lotBooks {
	s, free := l.spent(), l.free()
	b := lotBooks{
		held: l.Held, free: free, debt: l.Covers - l.Deficit,
		issued: l.Taken + l.Deficit - l.Credits,
	}
	gross := l.Price + l.Tax
	left := l.worth(l.Credits - l.Taken)               // F(G−a)
	owned := l.worth(l.Credits - l.Taken - l.Covers)   // F(G−a−c)
	refunded, disputed := l.moneyBack(facts)           // R and D
	tax := shareOf(l.Tax, min(refunded, gross), gross) // X_R
	unearned := l.Price - left                         // U

	b.pending = gross - refunded - disputed
	b.tax = tax - l.Tax
	b.recovered = owned - left
	b.deferred = l.worth(s) - owned
	if l.Expired {
		b.free, b.expired = 0, free
		b.deferred = l.worth(s) - l.worth(s+l.Held)
		b.breakage = l.worth(s+l.Held) - owned
	}
	b.refunds = max(0, refunded-tax-unearned)
	b.disputes = refunded - tax + disputed - unearned - b.refunds
	return b
}

// movesBetween are the books after less the books before. A lot's credits balance among
// themselves, and so does its money; so paid and promotional credits are in no move
// together, nor are two lots.
func movesBetween(before, after Account) []events.Move {
	var credits, money []events.Move
	step := func(was, is *LotState, factsBefore, factsAfter events.PaymentFacts) {
		x, y := booksOf(was, factsBefore), booksOf(is, factsAfter)
		credits = pair(credits, events.Credit, creditChanges(after.User, was, is, x, y))
		money = pair(money, is.Currency, moneyChanges(was, is, x, y))
	}
	for _, is := range after.Lots {
		was := before.lot(is.ID)
		factsBefore, factsAfter := before.FactsOf(is.Payment), after.FactsOf(is.Payment)
		if was == nil { // first the lot is granted whole, then it pays what is owed
			fresh := &LotState{Lot: is.Lot}
			step(&LotState{}, fresh, events.PaymentFacts{}, events.PaymentFacts{})
			was, factsBefore = fresh, events.PaymentFacts{}
		}
		step(was, is, factsBefore, factsAfter)
	}
	if forgiven := after.forgivenUsed() - before.forgivenUsed(); forgiven != 0 {
		credits = pair(credits, events.Credit, []change{
			{events.Forgiven, -forgiven}, {events.DebtOf(after.User), forgiven},
		})
	}
	return append(credits, money...)
}

// forgivenUsed is how much of what was forgiven counts now: no more than the lots lack.
// After a dispute that was won there may be nothing left to let off.
func (a Account) forgivenUsed() int64 {
	var deficit int64
	for _, l := range a.Lots {
		deficit += l.Deficit
	}
	return min(a.Forgiven, deficit)
}

// A change is what one account gains, or loses when it is below zero.
type change struct {
	account events.Account
	amount  int64
}

func creditChanges(user string, was, is *LotState, x, y lotBooks) []change {
	var changes []change
	add := func(account func() events.Account, amount int64) {
		if amount != 0 {
			changes = append(changes, change{account(), amount})
		}
	}
	add(func() events.Account { return events.HeldOf(user, is.ID) }, y.held-x.held)
	for i, u := range is.Uses {
		amount := u.Credits
		if i < len(was.Uses) { // uses are only ever added, behind the others
			amount -= was.Uses[i].Credits
		}
		add(func() events.Account { return events.Spent(is.Kind, u.Use) }, amount)
	}
	add(func() events.Account { return events.LotOf(user, is.ID) }, y.free-x.free)
	add(func() events.Account { return events.DebtOf(user) }, y.debt-x.debt)
	add(func() events.Account { return events.Expired(is.Kind) }, y.expired-x.expired)
	add(func() events.Account { return events.Issued(is.Kind) }, y.issued-x.issued)
	return changes
}

func moneyChanges(was, is *LotState, x, y lotBooks) []change {
	if is.Kind == events.Promotional {
		return nil
	}
	var changes []change
	add := func(account events.Account, amount int64) {
		if amount != 0 {
			changes = append(changes, change{account, amount})
		}
	}
	add(events.StripePending, y.pending-x.pending)
	add(events.Deferred(is.ID), y.deferred-x.deferred)
	add(events.TaxPayable, y.tax-x.tax)
	for i, u := range is.Uses {
		earned := u.Earned
		if i < len(was.Uses) {
			earned -= was.Uses[i].Earned
		}
		add(revenueAccount(u.Use), -earned)
	}
	add(events.RevenueBreakage, y.breakage-x.breakage)
	add(events.RevenueRecovered, y.recovered-x.recovered)
	add(events.Refunds, y.refunds-x.refunds)
	add(events.Disputes, y.disputes-x.disputes)
	return changes
}

// pair turns changes that sum to zero into moves: the first that loses gives to the
// first that gains, until nothing is left.
func pair(moves []events.Move, asset events.Asset, changes []change) []events.Move {
	to := 0
	for from := range changes {
		for changes[from].amount < 0 {
			for to < len(changes) && changes[to].amount <= 0 {
				to++
			}
			if to == len(changes) {
				return moves
			}
			amount := min(-changes[from].amount, changes[to].amount)
			moves = append(moves, events.Move{
				From: changes[from].account, To: changes[to].account, Asset: asset, Amount: amount,
			})
			changes[from].amount += amount
			changes[to].amount -= amount
		}
	}
	return moves
}

package ledger_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"truebond/events"
	"truebond/ledger"
)

func TestLotsAreSpentByPriorityThenKindThenExpiryThenAge(t *testing.T) {
	lot := func(id string, kind events.CreditKind, priority, expiresInDays int) step {
		l := events.Lot{ID: id, Kind: kind, Priority: priority, Credits: 1}
		if expiresInDays > 0 {
			l.ExpiresAt = opening.AddDate(0, 0, expiresInDays)
		}
		if kind == events.Paid {
			l.Price, l.Currency, l.Payment = 100, events.INR, "pi_"+id
		}
		return granted(l)
	}
	d := having(t,
		lot("9-last-resort", events.Promotional, 7, 1),
		lot("7-paid-old", events.Paid, 0, 0),
		lot("8-paid-young", events.Paid, 0, 0),
		lot("6-paid-late", events.Paid, 0, 30),
		lot("5-paid-soon", events.Paid, 0, 3),
		lot("3-given-old", events.Promotional, 0, 0),
		lot("4-given-young", events.Promotional, 0, 0),
		lot("2-given-soon", events.Promotional, 0, 4),
		lot("1-first", events.Paid, -1, 0),
	)
	var lots []string
	for range 9 {
		if err := spent(1, "other")(d); err != nil {
			t.Fatal(err)
		}
		for _, m := range d.log[len(d.log)-1].Moves {
			if m.Asset == events.Credit {
				lots = append(lots, string(m.From))
			}
		}
	}
	if !slices.IsSorted(lots) || len(lots) != 9 {
		t.Errorf("the lots are spent in the order %v", lots)
	}
}

func TestALotIsNotSpentFromTheMomentItsTimeIsOver(t *testing.T) {
	d := having(t, boughtUntil("A", 50, 5000, 9), given("B", 1))
	lastMoment := opening.AddDate(0, 0, 9).Add(-time.Millisecond)
	if got := d.account.Available(lastMoment); got != 51 {
		t.Errorf("%d are available a moment before, want 51", got)
	}
	d.now = opening.AddDate(0, 0, 9)
	if got := d.account.Available(d.now); got != 1 {
		t.Errorf("%d are available when it is over, want 1", got)
	}
	d.refuses(t, spent(2, "calls"), "insufficient_credits")
	if got := d.account.LotsOf(d.now); len(got) != 1 || got[0].ID != "B" || got[0].Remaining != 1 {
		t.Errorf("the lots shown are %v, want B alone", got)
	}
}

func TestSpendingMoreThanThereIsSaysWhatIsMissing(t *testing.T) {
	refusal := having(t, given("B", 1)).refuses(t, spent(3, "messages"), "insufficient_credits")
	if refusal.Detail != "3 credits are needed and 1 is left." {
		t.Errorf("it says %q", refusal.Detail)
	}
	if refusal.Facts["available"] != int64(1) || refusal.Facts["required"] != int64(3) {
		t.Errorf("its facts are %v", refusal.Facts)
	}
	newTeller().refuses(t, spent(1, "messages"), "insufficient_credits")
}

func TestADebtBlocksSpendingEvenOfGivenCredits(t *testing.T) {
	d := having(t, bought("A", 50, 5000), spent(50, "calls"), given("B", 10), withdrawn("A", 5000))
	refusal := d.refuses(t, spent(1, "messages"), "insufficient_credits")
	if refusal.Facts["available"] != int64(0) || refusal.Facts["debt"] != int64(50) {
		t.Errorf("its facts are %v", refusal.Facts)
	}
	d.refuses(t, reserved("h", 1), "insufficient_credits")
	a := d.account
	if a.Available(d.now) != 0 || a.Debt() != 50 || a.Promotional(d.now) != 10 || a.Paid(d.now) != 0 {
		t.Errorf("available %d, debt %d, promotional %d, paid %d; want 0, 50, 10, 0",
			a.Available(d.now), a.Debt(), a.Promotional(d.now), a.Paid(d.now))
	}
}

func TestForgivingADebtLetsTheUserSpendAgain(t *testing.T) {
	d := having(t, bought("A", 50, 5000), spent(50, "calls"), given("B", 10), withdrawn("A", 5000))
	d.refuses(t, forgiven(51), "no_such_debt")
	if err := forgiven(50)(d); err != nil {
		t.Fatal(err)
	}
	if got := d.account.Available(d.now); got != 10 {
		t.Errorf("%d are available, want 10", got)
	}
	d.refuses(t, forgiven(1), "no_such_debt")
}

func TestAHoldEndsOnce(t *testing.T) {
	d := having(t, given("B", 10), reserved("h", 6))
	if got := d.account.Held(); got != 6 {
		t.Errorf("%d are held, want 6", got)
	}
	d.refuses(t, reserved("h", 1), "hold_exists")
	d.refuses(t, spent(5, "calls"), "insufficient_credits")
	d.refuses(t, captured("h", 7), "hold_too_small")
	if err := captured("h", 6)(d); err != nil {
		t.Fatal(err)
	}
	d.refuses(t, captured("h", 1), "hold_not_found")
	d.refuses(t, released("h"), "hold_not_found")
}

func TestAHoldWhoseTimeIsOverCanOnlyBeReleased(t *testing.T) {
	d := having(t, given("B", 10), reserved("h", 6), days(1))
	d.refuses(t, captured("h", 6), "hold_expired")
	if err := released("h")(d); err != nil {
		t.Fatal(err)
	}
	if got := d.account.Available(d.now); got != 10 {
		t.Errorf("%d are available, want 10", got)
	}
}

func TestACapturedHoldIsUndoneToo(t *testing.T) {
	d := having(t, given("B", 3), bought("A", 50, 5000), reserved("h", 10), captured("h", 6))
	d.moves(t, undone(4),
		"spent/promotional/calls → user/u/B 3 CREDIT", "spent/paid/calls → user/u/A 3 CREDIT",
		"deferred/A → revenue/calls 300 INR")
}

func TestASpendIsUndoneOnce(t *testing.T) {
	d := having(t, given("B", 10), spent(4, "calls"), undone(2))
	d.refuses(t, undone(2), "already_undone")
	d.refuses(t, undone(1), "nothing_to_undo")
	if got := d.account.Available(d.now); got != 10 {
		t.Errorf("%d are available, want 10", got)
	}
}

func TestALotExpiresOnceAndNotBeforeItsTime(t *testing.T) {
	d := having(t, givenUntil("B", 10, 9), given("C", 1))
	d.refuses(t, expired("B"), "lot_not_expired")
	d.refuses(t, expired("C"), "lot_not_expired")
	d.refuses(t, expired("D"), "lot_not_found")
	d.now = opening.AddDate(0, 0, 9)
	if err := expired("B")(d); err != nil {
		t.Fatal(err)
	}
	d.refuses(t, expired("B"), "lot_not_found")
}

func TestAPaymentIsGrantedOnce(t *testing.T) {
	d := having(t, bought("A", 50, 5000))
	d.refuses(t, bought("A", 50, 5000), "already_granted")
	d.refuses(t, granted(events.Lot{
		ID: "another", Kind: events.Paid, Credits: 50, Price: 5000, Currency: events.INR, Payment: "pi_A",
	}), "already_granted")
	d.follow(t, given("B", 5))
	d.refuses(t, given("B", 5), "already_granted")
}

func TestMoreCreditsThanAnAccountCountsAreRefused(t *testing.T) {
	const most = 1 << 53
	d := having(t, bought("A", most-1, most))
	d.refuses(t, given("B", 2), "too_many_credits")
	d.refuses(t, given("B", most+1), "invalid_request")
	for _, s := range []step{
		given("B", 1), spent(most, "calls"), refunded("A", most),
	} {
		if err := s(d); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.account.Debt(); got != most-1 {
		t.Errorf("the debt is %d, want %d", got, most-1)
	}
}

func TestMoreMoneyBackThanWasPaidTakesTheWholeLotHoweverLargeItIs(t *testing.T) {
	const most = 1 << 53
	for _, price := range []int64{1, 1<<43 - 1} { // the credits to take back fit neither into 64 bits nor into 63
		for name, back := range map[string]step{"refunded": refunded("A", most), "withdrawn": withdrawn("A", most)} {
			d := having(t, bought("A", most, price), back)
			if left, debt := d.account.Available(d.now), d.account.Debt(); left != 0 || debt != 0 {
				t.Errorf("%s, at a price of %d: %d are left and %d owed", name, price, left, debt)
			}
		}
	}
}

func TestWhatIsOutOfRangeIsRefusedByItsField(t *testing.T) {
	paid := events.Lot{
		ID: "A", Kind: events.Paid, Credits: 50, Price: 5000, Currency: events.INR, Payment: "pi_A",
	}
	with := func(change func(*events.Lot)) step {
		l := paid
		change(&l)
		return granted(l)
	}
	d := having(t, given("B", 10), reserved("h", 1))
	for _, c := range []struct {
		name, field string
		step        step
	}{
		{"nothing spent", "credits", spent(0, "calls")},
		{"less than nothing spent", "credits", spent(-1, "calls")},
		{"spent on what the chart does not know", "use", spent(1, "flowers")},
		{"nothing reserved", "credits", reserved("i", 0)},
		{"a hold without an id", "hold", reserved("", 1)},
		{"a hold for what the chart does not know", "use", func(d *teller) error {
			_, err := d.account.Reserve("i", 1, "flowers", d.now.Add(time.Hour), d.now)
			return err
		}},
		{"nothing captured", "credits", captured("h", 0)},
		{"nothing forgiven", "credits", forgiven(0)},
		{"a lot without credits", "credits", with(func(l *events.Lot) { l.Credits = 0 })},
		{"a lot without an id", "id", with(func(l *events.Lot) { l.ID = "" })},
		{"a lot called debt", "id", with(func(l *events.Lot) { l.ID = "debt" })},
		{"a lot that breaks a path", "id", with(func(l *events.Lot) { l.ID = "a/held" })},
		{"a lot without a kind", "kind", with(func(l *events.Lot) { l.Kind = "" })},
		{"bought for nothing", "price", with(func(l *events.Lot) { l.Price = 0 })},
		{"a price beyond counting", "price", with(func(l *events.Lot) { l.Price = 1<<53 + 1 })},
		{"less than no tax", "tax", with(func(l *events.Lot) { l.Tax = -1 })},
		{"price and tax beyond counting", "tax", with(func(l *events.Lot) { l.Tax = 1 << 53 })},
		{"a strange currency", "currency", with(func(l *events.Lot) { l.Currency = "XAU" })},
		{"bought without a payment", "payment", with(func(l *events.Lot) { l.Payment = "" })},
		{"over before it begins", "expires_at", with(func(l *events.Lot) { l.ExpiresAt = opening })},
		{"a gift with a price", "price", granted(events.Lot{ID: "C", Kind: events.Promotional, Credits: 1, Price: 1})},
		{"a gift with a tax", "price", granted(events.Lot{ID: "C", Kind: events.Promotional, Credits: 1, Tax: 1})},
		{"a gift with a currency", "price", granted(events.Lot{
			ID: "C", Kind: events.Promotional, Credits: 1, Currency: events.INR,
		})},
		{"a gift with a payment", "price", granted(events.Lot{
			ID: "C", Kind: events.Promotional, Credits: 1, Payment: "pi_C",
		})},
		{"less than nothing refunded", "facts", refunded("A", -1)},
		{"a refund beyond counting", "facts", refunded("A", 1<<53+1)},
		{"a withdrawal beyond counting", "facts", withdrawn("A", 1<<53+1)},
		{"less than nothing disputed", "facts", disputed("A", -1, "txn", -1)},
		{"a transaction beyond counting", "facts", disputed("A", 1, "txn", 1<<53+1)},
		{"a transaction as far below zero", "facts", disputed("A", 1, "txn", -1<<53-1)},
		{"too many refunds", "facts", learned("pi_A", events.PaymentFacts{Refunds: many[events.Refund](501)})},
		{"too many disputes", "facts", learned("pi_A", events.PaymentFacts{Disputes: many[events.Dispute](501)})},
		{"too many transactions", "facts", learned("pi_A", events.PaymentFacts{Disputes: map[string]events.Dispute{
			"dp": {Transactions: many[int64](501)},
		}})},
		{"facts of no payment", "intent", learned("", events.PaymentFacts{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if refusal := d.refuses(t, c.step, "invalid_request"); refusal.Field != c.field {
				t.Errorf("it names %q, want %q", refusal.Field, c.field)
			}
		})
	}
}

func many[V any](n int) map[string]V {
	all := map[string]V{}
	for i := range n {
		var v V
		all[strconv.Itoa(i)] = v
	}
	return all
}

func TestWhatIsJustInRangeIsTaken(t *testing.T) {
	having(t, bought("A", 1, 1), bought("B", 50, 1<<53), refunded("B", 1<<53),
		withdrawn("A", 1<<53), reinstated("A", 1<<53),
		learned("pi_A", events.PaymentFacts{
			Refunds:  many[events.Refund](500),
			Disputes: many[events.Dispute](499), // with the one from before
		}),
		learned("pi_B", events.PaymentFacts{Disputes: map[string]events.Dispute{"dp": {Transactions: many[int64](500)}}}))
}

func TestALotSaysOfEachUseOnceWhatItCameTo(t *testing.T) {
	d := having(t, bought("A", 50, 5000), spent(1, "messages"), spent(2, "calls"), spent(3, "messages"), spent(4, "calls"))
	want := []ledger.LotUse{{Use: "messages", Credits: 4, Earned: 400}, {Use: "calls", Credits: 6, Earned: 600}}
	if got := d.account.Lots[0].Uses; !slices.Equal(got, want) {
		t.Errorf("it was spent on %+v, want %+v", got, want)
	}
}

func TestSpendingTouchesTheAccountsOfThoseItMovesAlone(t *testing.T) {
	e := events.Event{
		Data: events.PaymentFactsLearned{User: "b"},
		Moves: []events.Move{
			{From: events.LotOf("a", "A"), To: events.Spent(events.Paid, "calls"), Asset: events.Credit, Amount: 1},
			{From: events.LotOf("a", "B"), To: events.DebtOf("a"), Asset: events.Credit, Amount: 1},
		},
	}
	if got := ledger.Accounts.Keys(e); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("it touches %v, want a and b", got)
	}
}

func TestAUserWhoseIDBeginsLikeAnothersIsAnother(t *testing.T) {
	d := having(t, given("B", 10))
	e := events.Event{
		Data: events.CreditsDeducted{},
		Moves: []events.Move{{
			From: events.LotOf(holder+"2", "B"), To: events.Spent(events.Promotional, "calls"),
			Asset: events.Credit, Amount: 3,
		}},
	}
	after, _ := ledger.Accounts.Evolve(d.account, holder, e)
	if got := after.Available(d.now); got != 10 {
		t.Errorf("%d are available, want 10", got)
	}
}

func TestNeitherOfTwoFuturesShowsInTheOther(t *testing.T) {
	account := having(t, given("B", 1000)).account
	for n := range uint64(12) { // at some lengths a slice has room to spare, which both could fill
		future := func(name string, position uint64) ledger.Account {
			reserved, _ := ledger.Accounts.Evolve(account, holder, events.Event{
				Data: events.CreditsReserved{User: holder, Hold: name},
			})
			undone, _ := ledger.Accounts.Evolve(reserved, holder, events.Event{
				Data: events.SpendUndone{User: holder, Undoes: position},
			})
			return undone
		}
		one, two := future("one", 100+n), future("two", 200+n)
		if one.Holds[n].ID != "one" || one.Undone[n] != 100+n || two.Holds[n].ID != "two" || two.Undone[n] != 200+n {
			t.Fatalf("after %d holds one future has %v %v, the other %v %v",
				n, one.Holds, one.Undone, two.Holds, two.Undone)
		}
		account = one
	}
}

func BenchmarkSpendAndEvolve(b *testing.B) {
	d := newTeller()
	for _, s := range []step{given("B", 10), bought("A", 50, 5000), bought("C", 1<<50, 35000)} {
		if err := s(d); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		effect, err := d.account.Spend(1, ledger.UseMessages, d.now)
		if err != nil {
			b.Fatal(err)
		}
		e := events.Event{Moves: effect.Moves, Data: events.MessageSent{From: holder}}
		for _, key := range ledger.Accounts.Keys(e) {
			d.account, _ = ledger.Accounts.Evolve(d.account, key, e)
		}
	}
}

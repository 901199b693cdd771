package ledger

import (
	"errors"
	"testing"

	"truebond/events"
)

func isRefused(err error, code string) bool { return errors.Is(err, &Refusal{Code: code}) }

// wish is what ann wants to buy: the small package.
func wish(t judge, intent string) NewIntent {
	t.Helper()
	quote, err := QuotePackage(shelf, "small", events.INR)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return NewIntent{
		User: "ann", Intent: intent, Lot: "lot of " + intent, Quote: quote, ClientSecret: sealed("pi_secret"),
	}
}

// intended is a wish of ann's to buy the small package.
func intended(intent string) step {
	return func(s *scene) {
		s.t.Helper()
		s.and(did(IntendPayment(wish(s.t, intent))))
	}
}

// paid is what Stripe announces when the small package was paid.
func paid(intent string) Announcement {
	return Announcement{
		StripeEvent: "evt_1", StripeType: "payment_intent.succeeded", Object: intent, Intent: intent,
		Amount: 5000, Currency: "INR", Paid: true,
	}
}

// bought is a purchase of ann's of the small package.
func bought(intent string) step {
	return func(s *scene) {
		s.t.Helper()
		s.and(intended(intent), did(ConfirmPayment(paid(intent))))
	}
}

// noted is what becomes of an announcement that changes nothing.
func noted(a Announcement, why string) events.StripeEventNoted {
	return events.StripeEventNoted{
		StripeEvent: a.StripeEvent, StripeType: a.StripeType, Object: a.Object, Why: why,
	}
}

func lotBought(intent string) events.Lot {
	return events.Lot{
		ID: "lot of " + intent, Kind: events.Paid, Credits: 50, Price: 5000, Currency: events.INR, Payment: intent,
	}
}

func granted(intent string, available int64) events.PaymentGranted {
	return events.PaymentGranted{
		User: "ann", Intent: intent, StripeEvent: "evt_1", StripeType: "payment_intent.succeeded",
		Lot: lotBought(intent), Available: available,
	}
}

func TestAWishToBuyAddsNothing(t *testing.T) {
	given(t, open, signedUp("ann")).when(IntendPayment(wish(t, "pi_1"))).moving().then(events.PaymentIntended{
		User: "ann", Intent: "pi_1", Package: "small", Packages: 1, Credits: 50, Amount: 5000,
		Currency: events.INR, Lot: "lot of pi_1", ClientSecret: sealed("pi_secret"),
	}).has("ann", 10)
}

func TestAWishToBuyIsRefusedWhen(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	t.Run("the user is not there", func(t *testing.T) {
		given(t, open).when(IntendPayment(wish(t, "pi_1"))).refused(CodeUnknownUser)
		given(t, open, signedUp("ann"), erased("ann")).when(IntendPayment(wish(t, "pi_1"))).refused(CodeUnknownUser)
	})
	t.Run("the packages have changed", func(t *testing.T) {
		second := shelf
		second.Version = 2
		given(t, open, signedUp("ann"), did(SetPackages(second))).
			when(IntendPayment(wish(t, "pi_1"))).refused(CodePackagesChanged)
	})
	t.Run("the package is sold no more", func(t *testing.T) {
		second := events.PackagesSet{Version: 2, Packages: shelf.Packages[1:]}
		given(t, open, signedUp("ann"), did(SetPackages(second))).
			when(IntendPayment(wish(t, "pi_1"))).refused(CodePackagesChanged)
	})
	t.Run("the quote is another one", func(t *testing.T) {
		w := wish(t, "pi_1")
		w.Quote.Amount = 1
		s.when(IntendPayment(w)).refused(CodePackagesChanged)
	})
	t.Run("there is no such package or price", func(t *testing.T) {
		w := wish(t, "pi_1")
		w.Quote.Package = "huge"
		s.when(IntendPayment(w)).refused(CodeUnknownPackage, "package")
		w = wish(t, "pi_1")
		w.Quote.Currency = events.EUR
		s.when(IntendPayment(w)).refused(CodeUnknownCurrency, "currency")
	})
	t.Run("the intent is known", func(t *testing.T) {
		given(t, open, signedUp("ann"), intended("pi_1")).
			when(IntendPayment(wish(t, "pi_1"))).refused(CodeIntentExists)
	})
}

func TestAnAnnouncedPaymentIsGrantedOnce(t *testing.T) {
	s := given(t, open, signedUp("ann"), intended("pi_1")).
		when(ConfirmPayment(paid("pi_1"))).
		moving(
			events.Move{From: "issued/paid", To: "user/ann/lot of pi_1", Asset: events.Credit, Amount: 50},
			events.Move{From: "deferred/lot of pi_1", To: "stripe/pending", Asset: events.INR, Amount: 5000},
		).
		then(granted("pi_1", 60)).has("ann", 60)

	sibling := paid("pi_1")
	sibling.StripeEvent, sibling.StripeType, sibling.Object = "evt_2", "checkout.session.completed", "cs_1"
	s.when(ConfirmPayment(sibling)).moving().
		then(noted(sibling, "its credits were granted before")).has("ann", 60)
	s.when(ConfirmPayment(paid("pi_1"))).moving().
		then(noted(paid("pi_1"), "its credits were granted before")).has("ann", 60)
}

func TestEachTypeThatAnnouncesAPaymentIsEnough(t *testing.T) {
	for _, name := range []string{
		"payment_intent.succeeded", "checkout.session.completed", "checkout.session.async_payment_succeeded",
	} {
		a := paid("pi_1")
		a.StripeType, a.Currency = name, "inr"
		want := granted("pi_1", 60)
		want.StripeType = name
		given(t, open, signedUp("ann"), intended("pi_1")).when(ConfirmPayment(a)).then(want)
	}
}

func TestAPaymentThatDiffersGrantsNothingAndLeavesTheIntentPayable(t *testing.T) {
	for why, change := range map[string]func(*Announcement){
		"the amount is another one":   func(a *Announcement) { a.Amount = 4999 },
		"the currency is another one": func(a *Announcement) { a.Currency = "USD" },
	} {
		a := paid("pi_1")
		change(&a)
		given(t, open, signedUp("ann"), intended("pi_1")).when(ConfirmPayment(a)).moving().
			then(events.PaymentMismatched{
				User: "ann", Intent: "pi_1", StripeEvent: "evt_1", StripeType: "payment_intent.succeeded",
				Amount: a.Amount, Currency: a.Currency, Why: why,
			}).has("ann", 10).
			when(ConfirmPayment(paid("pi_1"))).then(granted("pi_1", 60))
	}
}

func TestWebhooksThatChangeNothingAreNoted(t *testing.T) {
	s := given(t, open, signedUp("ann"), intended("pi_1"))
	unpaid, other, stranger, nameless := paid("pi_1"), paid("pi_1"), paid("pi_2"), paid("")
	unpaid.StripeType, unpaid.Paid = "checkout.session.completed", false
	other.StripeType = "customer.created"
	nameless.Object = "cs_1"
	s.when(ConfirmPayment(unpaid)).moving().then(noted(unpaid, "the money is not there"))
	s.when(ConfirmPayment(other)).moving().then(noted(other, "nothing is done about events of this type"))
	s.when(ConfirmPayment(stranger)).moving().then(noted(stranger, "the payment is none of ours"))
	s.when(ConfirmPayment(nameless)).moving().then(noted(nameless, "the payment is none of ours"))
}

func TestOnlyTheBuyerCancelsWhatIsNotPaid(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), intended("pi_1"))
	s.when(CancelPayment("bob", "pi_1")).refused(CodeNotFound)
	s.when(CancelPayment("ann", "pi_2")).refused(CodeNotFound)
	s.when(CancelPayment("", "pi_2")).refused(CodeNotFound)
	after := s.when(CancelPayment("ann", "pi_1")).moving().
		then(events.PaymentCanceled{User: "ann", Intent: "pi_1"})
	after.when(CancelPayment("ann", "pi_1")).refused(CodeNothingToDo)
	s.and(did(ConfirmPayment(paid("pi_1")))).when(CancelPayment("ann", "pi_1")).refused(CodePaymentGranted)
}

func TestTheTaxInsideAPaymentIsNoneOfTheLotsPrice(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	s.apply(events.PaymentIntended{User: "ann", Intent: "pi_1", Package: "small", Packages: 1, Credits: 50,
		Amount: 5000, Tax: 763, Currency: events.INR, Lot: "lot of pi_1", ClientSecret: sealed("pi_secret")}, nil)
	want := granted("pi_1", 60)
	want.Lot.Price, want.Lot.Tax = 4237, 763
	s.when(ConfirmPayment(paid("pi_1"))).moving(
		events.Move{From: "issued/paid", To: "user/ann/lot of pi_1", Asset: events.Credit, Amount: 50},
		events.Move{From: "deferred/lot of pi_1", To: "stripe/pending", Asset: events.INR, Amount: 4237},
		events.Move{From: "tax/payable", To: "stripe/pending", Asset: events.INR, Amount: 763},
	).then(want)
}

func TestACanceledPaymentThatWasPaidIsGrantedAllTheSame(t *testing.T) {
	given(t, open, signedUp("ann"), intended("pi_1"), did(CancelPayment("ann", "pi_1"))).
		when(ConfirmPayment(paid("pi_1"))).then(granted("pi_1", 60)).
		when(CancelPayment("ann", "pi_1")).refused(CodePaymentGranted)
}

func TestAnErasedUsersPaymentIsStillGranted(t *testing.T) {
	given(t, open, signedUp("ann"), intended("pi_1"), erased("ann")).
		when(ConfirmPayment(paid("pi_1"))).then(granted("pi_1", 60))
}

func TestARefundTakesCreditsBack(t *testing.T) {
	facts := events.PaymentFacts{AmountRefunded: 2000}
	refunded := Announcement{StripeEvent: "evt_3", StripeType: "charge.refunded", Object: "ch_1", Intent: "pi_1"}
	learned := events.PaymentFactsLearned{
		User: "ann", Intent: "pi_1", StripeEvent: "evt_3", Facts: facts, Available: 40,
	}
	s := given(t, open, signedUp("ann"), bought("pi_1"))
	after := s.when(LearnPaymentFacts(refunded, facts)).then(learned).has("ann", 40)
	after.when(LearnPaymentFacts(refunded, facts)).moving().then(learned).has("ann", 40)

	stranger := refunded
	stranger.Intent = "pi_2"
	s.when(LearnPaymentFacts(stranger, facts)).moving().then(noted(stranger, "the payment is none of ours"))
	s.when(LearnPaymentFacts(refunded, events.PaymentFacts{AmountRefunded: 1 << 60})).
		refused(CodeInvalidRequest, "facts")
}

func TestARefundThatIsHeardOfBeforeThePaymentCountsAfterIt(t *testing.T) {
	facts := events.PaymentFacts{AmountRefunded: 5000}
	refunded := Announcement{StripeEvent: "evt_3", StripeType: "charge.refunded", Object: "ch_1", Intent: "pi_1"}
	given(t, open, signedUp("ann"), intended("pi_1")).
		when(LearnPaymentFacts(refunded, facts)).moving().
		then(events.PaymentFactsLearned{
			User: "ann", Intent: "pi_1", StripeEvent: "evt_3", Facts: facts, Available: 10,
		}).
		when(ConfirmPayment(paid("pi_1"))).then(granted("pi_1", 10)).has("ann", 10)
}

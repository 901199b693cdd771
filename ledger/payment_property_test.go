package ledger

import (
	"testing"

	"pgregory.net/rapid"

	"truebond/events"
)

// till is what a few intents come to, worked out from what Stripe has said of them.
type till struct {
	wished  map[string]bool  // intents that are ours
	granted map[string]bool  // intents whose money came in as it was asked for
	back    map[string]int64 // the greatest sum refunded, by intent; likewise before the grant
}

// TestWhateverStripeSaysIsTakenAndCountsOnce tells of a few intents whatever may be said of them, in any
// order: by each type, paid and not, of right and wrong sums, before they are known and after they were
// canceled, refunded, or their buyer erased.
func TestWhateverStripeSaysIsTakenAndCountsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := given(t, open, signedUp("ann"))
		in := till{map[string]bool{}, map[string]bool{}, map[string]int64{}}
		for range rapid.IntRange(1, 40).Draw(t, "sayings") {
			intent := rapid.SampledFrom([]string{"pi_1", "pi_2", "pi_3"}).Draw(t, "intent")
			switch rapid.SampledFrom([]string{"wish", "cancel", "refund", "spend", "erase", "pay", "pay", "pay"}).
				Draw(t, "what") {
			case "wish":
				in.wished[intent] = s.tries(IntendPayment(wish(t, intent))) || in.wished[intent]
			case "cancel":
				s.tries(CancelPayment("ann", intent))
			case "spend":
				s.tries(DeductCredits("ann", rapid.Int64Range(1, 40).Draw(t, "credits"), "a gift"))
			case "erase":
				if rapid.IntRange(0, 9).Draw(t, "erased") == 0 {
					s.tries(EraseUser("ann", "asked for it"))
				}
			case "refund":
				in.refund(t, s, intent)
			case "pay":
				in.pay(t, s, intent)
			}
			in.check(t, s)
		}
	})
}

// pay announces a payment, and holds what it comes to against what was said.
func (in till) pay(t *rapid.T, s *scene, intent string) {
	a := paid(intent)
	a.StripeType = rapid.SampledFrom([]string{
		"payment_intent.succeeded", "checkout.session.completed", "checkout.session.async_payment_succeeded",
		"payment_intent.canceled",
	}).Draw(t, "type")
	a.Paid = rapid.IntRange(0, 4).Draw(t, "paid") > 0
	a.Amount = rapid.SampledFrom([]int64{5000, 5000, 5000, 4999, 0, -5000, 1 << 62}).Draw(t, "amount")
	a.Currency = rapid.SampledFrom([]string{"INR", "inr", "INR", "USD", ""}).Draw(t, "currency")
	counts := a.StripeType != "payment_intent.canceled" && a.Paid && in.wished[intent] && !in.granted[intent]
	right := a.Amount == 5000 && (a.Currency == "INR" || a.Currency == "inr")
	want := events.StripeEventNoted{}.Type()
	switch {
	case counts && right:
		want, in.granted[intent] = events.PaymentGranted{}.Type(), true
	case counts:
		want = events.PaymentMismatched{}.Type()
	}
	s.and(did(ConfirmPayment(a)))
	if got := s.log[len(s.log)-1].Data.Type(); got != want {
		t.Fatalf("%+v came to %s, want %s", a, got, want)
	}
}

// refund tells of a sum that was refunded in all, which may have come late.
func (in till) refund(t *rapid.T, s *scene, intent string) {
	sum := rapid.Int64Range(0, 6000).Draw(t, "sum")
	if in.wished[intent] {
		in.back[intent] = max(in.back[intent], sum)
	}
	a := Announcement{StripeEvent: "evt_r", StripeType: "charge.refunded", Object: "ch_1", Intent: intent}
	s.and(did(LearnPaymentFacts(a, events.PaymentFacts{AmountRefunded: sum})))
}

// check holds the cash and the credits in the log against what Stripe has said.
func (in till) check(t *rapid.T, s *scene) {
	holds := map[events.Account]int64{}
	for _, e := range s.log {
		for _, m := range e.Moves {
			holds[m.From] -= m.Amount
			holds[m.To] += m.Amount
		}
	}
	cash, issued := holds[events.StripePending], -holds[events.Issued(events.Paid)]
	var wantCash, wantIssued int64
	for intent := range in.granted {
		wantCash += 5000 - in.back[intent]
		wantIssued += 50 - min(50, in.back[intent]/100)
	}
	if cash != wantCash || issued != wantIssued {
		t.Fatalf("%d came in for %d credits, want %d for %d", cash, issued, wantCash, wantIssued)
	}
	if left := doc(s, Accounts, "ann").Available(s.now); left < 0 {
		t.Fatalf("ann has %d credits", left)
	}
}

// tries has a command decided that the rules may refuse, and tells whether they did not.
func (s *scene) tries(d Decision) bool {
	s.t.Helper()
	o := s.when(d)
	if o.err == nil {
		s.apply(o.payload, o.moves)
	} else if !errorsAsRefusal(o.err) {
		s.t.Fatalf("a command failed, and not by a rule: %v", o.err)
	}
	return o.err == nil
}

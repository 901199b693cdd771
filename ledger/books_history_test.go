package ledger_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/ledger"
)

// A history is a random run of commands on one account, and the model beside it.
type history struct {
	*teller
	model   *model
	before  ledger.Account // the account before the last step
	doing   string         // what the last step was
	refusal error          // why it was refused; nil if it was not
}

const stepsMin, stepsMax = 30, 60

// eachStep runs a random history and looks at it after each step, refused ones too.
func eachStep(t *rapid.T, look func(*rapid.T, *history)) *history {
	h := &history{teller: newTeller(), model: newModel()}
	for range rapid.IntRange(stepsMin, stepsMax).Draw(t, "steps") {
		h.before = h.account
		h.act(t)
		look(t, h)
	}
	return h
}

// act does something. What makes debts comes often, since debts are what is hard.
func (h *history) act(t *rapid.T) {
	h.refusal = nil
	switch h.doing = rapid.SampledFrom([]string{
		"grant", "grant", "spend", "spend", "reserve", "reserve", "capture", "release", "undo",
		"expire", "expire", "learn", "learn", "learn", "forgive", "forgive", "wait",
	}).Draw(t, "what"); h.doing {
	case "grant":
		h.grant(t)
	case "spend":
		h.spend(t)
	case "reserve":
		h.reserve(t)
	case "capture":
		h.capture(t)
	case "release":
		h.release(t)
	case "undo":
		h.undo(t)
	case "expire":
		h.expire(t)
	case "learn":
		h.learn(t)
	case "forgive":
		h.forgive(t)
	case "wait":
		h.now = h.now.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "hours")) * time.Hour)
	}
}

// intents are few, so that facts often come before their payment, and again.
var intents = []string{"pi_1", "pi_2", "pi_3"}

func (h *history) grant(t *rapid.T) {
	lot := events.Lot{
		ID:       fmt.Sprintf("lot-%d", len(h.log)),
		Kind:     rapid.SampledFrom([]events.CreditKind{events.Paid, events.Paid, events.Promotional}).Draw(t, "kind"),
		Priority: rapid.IntRange(0, 1).Draw(t, "priority"),
		Credits:  rapid.Int64Range(1, 60).Draw(t, "lot credits"),
	}
	if rapid.Bool().Draw(t, "expires") {
		lot.ExpiresAt = h.now.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "lasts")) * time.Hour)
	}
	if lot.Kind == events.Paid {
		lot.Price = rapid.OneOf(rapid.Int64Range(1, 9), rapid.Int64Range(1, 5000)).Draw(t, "price")
		lot.Tax = rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 900)).Draw(t, "tax")
		lot.Currency = rapid.SampledFrom([]events.Asset{events.INR, events.USD}).Draw(t, "currency")
		lot.Payment = rapid.SampledFrom(intents).Draw(t, "payment")
	}
	if h.refusal = granted(lot)(h.teller); h.refusal == nil {
		h.model.lots = append(h.model.lots, &modelLot{
			Lot: lot, spent: map[string]int64{}, earned: map[string]int64{},
		})
	}
}

func (h *history) spend(t *rapid.T) {
	credits := rapid.Int64Range(1, 40).Draw(t, "credits")
	use := rapid.SampledFrom([]string{ledger.UseMessages, ledger.UseCalls}).Draw(t, "use")
	available, parts := h.model.available(h.now)
	h.refusal = spent(credits, use)(h.teller)
	h.agree(t, credits <= available)
	if h.refusal == nil {
		parts = take(parts, credits, use)
		for _, p := range parts {
			p.lot.spend(p.credits, use)
		}
		h.model.spends[uint64(len(h.log))] = parts
	}
}

func (h *history) reserve(t *rapid.T) {
	credits := rapid.Int64Range(1, 15).Draw(t, "credits")
	id := fmt.Sprintf("hold-%d", len(h.log))
	available, parts := h.model.available(h.now)
	h.refusal = reserved(id, credits)(h.teller)
	h.agree(t, credits <= available)
	if h.refusal == nil {
		parts = take(parts, credits, ledger.UseCalls)
		for _, p := range parts {
			p.lot.held += p.credits
		}
		h.model.holds[id] = &modelHold{parts: parts}
	}
}

func (h *history) capture(t *rapid.T) {
	id, found := pickKey(t, h.model.holds)
	if !found {
		return
	}
	credits := rapid.Int64Range(1, 15).Draw(t, "credits")
	if h.refusal = captured(id, credits)(h.teller); h.refusal != nil {
		return
	}
	hold := h.model.end(id)
	parts := take(hold.parts, credits, ledger.UseCalls)
	for _, p := range parts {
		p.lot.spend(p.credits, p.use)
	}
	h.model.spends[uint64(len(h.log))] = parts
}

func (h *history) release(t *rapid.T) {
	if id, found := pickKey(t, h.model.holds); found {
		h.refusal = released(id)(h.teller)
		h.agree(t, true)
		h.model.end(id)
	}
}

// end lets go of what a hold has set aside.
func (m *model) end(id string) *modelHold {
	hold := m.holds[id]
	delete(m.holds, id)
	for _, p := range hold.parts {
		p.lot.held -= p.credits
	}
	return hold
}

func (h *history) undo(t *rapid.T) {
	position, found := pickKey(t, h.model.spends)
	if !found {
		return
	}
	h.refusal = undone(int(position))(h.teller)
	h.agree(t, true)
	for _, p := range h.model.spends[position] {
		p.lot.spend(-p.credits, p.use)
	}
	delete(h.model.spends, position)
}

func (h *history) expire(t *rapid.T) {
	for _, l := range h.model.lots {
		if !l.expired && !l.ExpiresAt.IsZero() && !h.now.Before(l.ExpiresAt) {
			h.refusal = expired(l.ID)(h.teller)
			h.agree(t, true)
			l.expired = true
			return
		}
	}
}

func (h *history) learn(t *rapid.T) {
	intent := rapid.SampledFrom(intents).Draw(t, "intent")
	facts := drawFacts(t)
	h.refusal = learned(intent, facts)(h.teller)
	h.agree(t, true)
	h.model.reports[intent] = append(h.model.reports[intent], facts)
}

func (h *history) forgive(t *rapid.T) {
	credits := rapid.Int64Range(1, 30).Draw(t, "credits")
	_, debt, _ := h.model.settle()
	h.refusal = forgiven(credits)(h.teller)
	h.agree(t, credits <= debt)
	if h.refusal == nil {
		h.model.forgiven += credits
	}
}

// agree checks that the ledger accepts what the model would.
func (h *history) agree(t *rapid.T, accept bool) {
	if accept != (h.refusal == nil) {
		t.Fatalf("%s: the ledger says %v; accepted by the model: %v", h.doing, h.refusal, accept)
	}
}

// drawFacts is a report on a payment: of refunds, of their total, or of a dispute.
func drawFacts(t *rapid.T) events.PaymentFacts {
	amount := rapid.OneOf(rapid.Int64Range(1, 9), rapid.Int64Range(1, 5000)).Draw(t, "amount")
	switch rapid.SampledFrom([]string{"refund", "total", "dispute", "dispute"}).Draw(t, "report") {
	case "refund":
		status := rapid.SampledFrom([]events.RefundStatus{
			events.RefundRequiresAction, events.RefundPending, events.RefundSucceeded,
			events.RefundSucceeded, events.RefundFailed, events.RefundCanceled,
		}).Draw(t, "status")
		id := rapid.SampledFrom([]string{"re_1", "re_2"}).Draw(t, "refund")
		return events.PaymentFacts{Refunds: map[string]events.Refund{id: {Amount: amount, Status: status}}}
	case "total":
		return events.PaymentFacts{AmountRefunded: amount}
	}
	id := rapid.SampledFrom([]string{"dp_1", "dp_2"}).Draw(t, "dispute")
	return events.PaymentFacts{Disputes: map[string]events.Dispute{
		id: {Amount: amount, Transactions: drawTransactions(t)},
	}}
}

// drawTransactions are some of those that a dispute may have. What one has moved never
// changes, so it follows from its id.
func drawTransactions(t *rapid.T) map[string]int64 {
	all := map[string]int64{"txn_out": -3000, "txn_more": -70, "txn_in": 1000, "txn_rest": 2070}
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom(sortedKeys(all)), 0, len(all), rapid.ID[string]).Draw(t, "ids")
	some := map[string]int64{}
	for _, id := range ids {
		some[id] = all[id]
	}
	return some
}

// pickKey draws one of a map's keys.
func pickKey[K string | uint64, V any](t *rapid.T, from map[K]V) (key K, found bool) {
	if len(from) == 0 {
		return key, false
	}
	return rapid.SampledFrom(sortedKeys(from)).Draw(t, "which"), true
}

func sortedKeys[K string | uint64, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"truebond/commands/stripe"
)

// announced is a Stripe event of any type about any object.
func announced(t *testing.T, id, kind, version string, object map[string]any) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"id": id, "object": "event", "api_version": version, "created": time.Now().Unix(), "type": kind,
		"livemode": false, "pending_webhooks": 1, "request": nil, "a_new_field": map[string]any{"of": "Stripe's"},
		"data": map[string]any{"object": object},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (p *person) buys(pack string) (intent string) {
	p.w.t.Helper()
	return p.post("/api/credits/purchase", map[string]any{"package": pack}).is(201).get("intent_id")
}

// happened demands what the last event is, and what it says.
func (w *world) happened(admin, kind string, pairs ...any) {
	w.t.Helper()
	w.ask("GET", "/api/admin/audit?limit=1", admin, nil, "Ledger-Position", w.position()).is(200).
		says("data.0.type", kind).says(pairs...)
}

func TestWhatStripeSaysIsTakenOnceAndWeighed(t *testing.T) {
	w := begin(t, embedded)
	ann, admin := w.signsUp(), w.staff("admin")
	intent := ann.buys("small")
	now := stripego.APIVersion

	t.Run("made for another version of its API", func(t *testing.T) {
		a := w.webhook(announced(t, "evt_old", string(succeeded), "2015-10-16",
			map[string]any{"id": intent})).is(400).
			says("code", "webhook_api_version")
		if !strings.Contains(a.get("detail"), now) {
			t.Errorf("the answer does not say which version: %s", a.body)
		}
	})
	t.Run("no event", func(t *testing.T) {
		for _, body := range []string{"", "[]", "{}", `{"id":"evt_1"}`, "null", `{"id":"evt_1","data":null}`} {
			w.webhook([]byte(body)).is(400).says("code", "webhook_body")
		}
	})
	t.Run("in words that are not Stripe's", func(t *testing.T) {
		long, thing := strings.Repeat("x", 256), map[string]any{"id": "cus_1"}
		for _, body := range [][]byte{
			announced(t, "evt_\n", "customer.created", now, thing), announced(t, long, "customer.created", now, thing),
			announced(t, "evt_1", long, now, thing),
			w.paid("evt_1", succeeded, long, 5000), bytes.Replace(announced(t, "evt_1", "customer.created", now, thing),
				[]byte(`"created":`), []byte(`"created":999999`), 1),
		} {
			w.webhook(body).is(400).says("code", "webhook_body")
		}
	})
	t.Run("of types that we do nothing about", func(t *testing.T) {
		for i, name := range []string{"Summer sale: 20 % off, only in Köln", strings.Repeat("x", 300), "a\nb"} { // a merchant names coupons
			w.webhook(announced(t, fmt.Sprint("evt_named_", i), "coupon.created", now, map[string]any{"id": name})).is(200)
		}
		w.webhook(announced(t, "evt_n1", "customer.created", now, map[string]any{"id": "cus_1"})).is(200).
			says("received", true, "replayed", false)
		w.happened(admin, "stripe.event_noted", "data.0.data.object", "cus_1", "data.0.key", "stripe/evt_n1")
		w.webhook(announced(t, "evt_n1", "customer.created", now, map[string]any{"id": "cus_1"})).is(200).
			says("received", true, "replayed", true)
	})
	t.Run("about objects without an id", func(t *testing.T) {
		w.webhook(announced(t, "evt_n2", "balance.available", now, map[string]any{"object": "balance"})).is(200)
		w.webhook(announced(t, "evt_n3", "some.new_thing", now, map[string]any{"id": 7})).is(200)
		w.happened(admin, "stripe.event_noted", "data.0.key", "stripe/evt_n3")
	})
	t.Run("about others' payments", func(t *testing.T) {
		w.webhook(w.paid("evt_o1", succeeded, "pi_others", 5000)).is(200)
		w.happened(admin, "stripe.event_noted", "data.0.data.object", "pi_others")
	})
	t.Run("a checkout without a payment", func(t *testing.T) {
		w.webhook(announced(t, "evt_c0", string(completed), now, map[string]any{
			"id": "cs_1", "payment_intent": nil, "payment_status": "paid", "amount_total": 5000, "currency": "inr",
		})).is(200)
		w.happened(admin, "stripe.event_noted", "data.0.data.object", "cs_1")
	})
	t.Run("a checkout whose money is not there", func(t *testing.T) {
		for _, status := range []string{"unpaid", "no_payment_required"} {
			w.webhook(announced(t, "evt_c_"+status, string(completed), now, map[string]any{
				"id": "cs_2", "payment_intent": intent, "payment_status": status, "amount_total": 5000, "currency": "inr",
			})).is(200)
		}
		ann.has(10)
		ann.get("/api/payments/intent/"+intent).is(200).says("status", "intended")
	})
	t.Run("another amount or currency, and then the right one", func(t *testing.T) {
		w.webhook(w.paid("evt_m1", succeeded, intent, 4999)).is(200)
		w.happened(admin, "payment.mismatched", "data.0.data.amount", 4999)
		other, err := stripe.PaidEvent("evt_m2", succeeded, intent, 5000, "USD", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.webhook(other).is(200)
		w.happened(admin, "payment.mismatched", "data.0.data.currency", "USD")
		ann.has(10)
		w.webhook(w.paid("evt_m3", succeeded, intent, 5000)).is(200)
		ann.has(60)
		ann.get("/api/payments/intent/"+intent).is(200).says("status", "granted")
	})
	t.Run("its siblings afterwards", func(t *testing.T) {
		w.webhook(w.paid("evt_s1", completed, intent, 5000)).is(200).says("replayed", false)
		w.happened(admin, "stripe.event_noted")
		w.webhook(w.paid("evt_s2", completed, intent, 1)).is(200)
		ann.has(60)
	})
	t.Run("a canceled intent that is paid all the same", func(t *testing.T) {
		second := ann.buys("medium")
		ann.post("/api/payments/intent/"+second+"/cancel", nil).is(200).says("status", "canceled")
		ann.post("/api/payments/intent/"+second+"/cancel", nil).is(200).says("status", "canceled")
		ann.get("/api/payments/intent/"+second).is(200).says("status", "canceled")
		w.webhook(w.paid("evt_p1", succeeded, second, 10000)).is(200)
		ann.has(180)
		ann.post("/api/payments/intent/"+second+"/cancel", nil)
		ann.get("/api/payments/intent/"+second).is(200).says("status", "granted")
	})
	t.Run("a checkout paid later", func(t *testing.T) {
		third := ann.buys("small")
		w.webhook(announced(t, "evt_l1", "checkout.session.async_payment_succeeded", now, map[string]any{
			"id": "cs_3", "payment_intent": third, "payment_status": "paid", "amount_total": 5000, "currency": "inr",
		})).is(200)
		ann.has(230)
		ann.post("/api/payments/intent/"+third+"/cancel", nil).is(409).says("code", "payment_granted")
	})
}

func TestOneStripeEventWithAnotherBodyIsStillThatEvent(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	first, second := ann.buys("small"), ann.buys("small")
	w.webhook(w.paid("evt_1", succeeded, first, 5000)).is(200).says("replayed", false)
	w.webhook(w.paid("evt_1", succeeded, second, 5000)).is(200).says("replayed", true)
	ann.has(60)
}

func TestPaymentsArePaidInEachCurrencyAndSeenByFinance(t *testing.T) {
	w := begin(t, embedded)
	ann, finance := w.signsUp(), w.staff("finance")
	for _, currency := range []string{"USD", "EUR", "GBP", "CAD", "AUD", "INR"} {
		intent := ann.post("/api/credits/purchase", map[string]any{"package": "small",
			"currency": currency}).is(201).
			says("currency", currency).get("intent_id")
		ann.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
		ann.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
	}
	ann.has(310)
	a := w.ask("GET", "/api/finance/trial-balance", finance, nil).is(200)
	for i, total := range listOf[struct {
		Asset   string
		Debit   int64
		Balance int64
	}](a, "totals") {
		if total.Balance != 0 || total.Debit == 0 {
			t.Errorf("total %d: %+v", i, total)
		}
	}
}

package main

import (
	"sync"
	"testing"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"truebond/commands/stripe"
)

const (
	succeeded = stripego.EventTypePaymentIntentSucceeded
	completed = stripego.EventTypeCheckoutSessionCompleted
)

func TestCreditsComeInAreSpentAndSeenTheSameEverywhere(t *testing.T) {
	for _, where := range everywhere {
		t.Run(where.name, func(t *testing.T) {
			w := begin(t, where)
			ann, bob := w.signsUp(), w.signsUp()
			ann.has(10)
			buysOnce(t, w, ann)
			spendsAllOnMessages(t, ann, bob)
			talksUntilOutOfCredits(t, w, ann, bob)
			booksBalance(t, w)
		})
	}
}

// buysOnce buys the small package, with all that can go wrong on the way.
func buysOnce(t *testing.T, w *world, ann *person) {
	t.Helper()
	intent := ann.post("/api/credits/purchase", map[string]any{"package": "small"}).is(201).
		says("amount", 5000, "currency", "INR", "credits", 50).get("intent_id")
	ann.has(10)

	paid := w.paid("evt_1", succeeded, intent, 5000)
	w.ask("POST", "/api/webhooks/stripe", "", paid, "Stripe-Signature", stripe.Sign(paid, "whsec_forged", time.Now())).is(400)
	w.ask("POST", "/api/webhooks/stripe", "", paid,
		"Stripe-Signature", stripe.Sign(paid, w.secret, time.Now().Add(-301*time.Second))).is(400)
	w.ask("POST", "/api/webhooks/stripe", "", paid).is(400)
	ann.has(10)

	w.webhook(w.paid("evt_0", succeeded, intent, 4999)).is(200).says("received", true)
	ann.has(10)

	var all sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for range 50 {
		all.Add(1)
		go func() {
			defer all.Done()
			a := w.webhook(paid).is(200).says("received", true)
			mu.Lock()
			defer mu.Unlock()
			if a.get("replayed") == "false" {
				first++
			}
		}()
	}
	all.Wait()
	if first != 1 {
		t.Errorf("%d of 50 parallel webhooks were taken as the first", first)
	}
	ann.has(60)
	w.webhook(w.paid("evt_2", completed, intent, 5000)).is(200)
	w.webhook(w.paid("evt_3", succeeded, intent, 5000)).is(200)
	ann.has(60)
	ann.get("/api/credits/history").is(200).
		says("data.0.credits", 50, "data.0.available_after", 60, "data.1.credits", 10, "has_more", false)
}

// spendsAllOnMessages sends sixty messages, and one that is too many.
func spendsAllOnMessages(t *testing.T, ann, bob *person) {
	t.Helper()
	message := map[string]any{"to": bob.id, "body": "hello"}
	for left := int64(59); left >= 0; left-- {
		ann.post("/api/v2/messages/send", message).is(201).
			says("charged", 1, "available", left, "message.body", "hello", "message.to", bob.id)
	}
	before := ann.get("/api/credits/balance").is(200).get("position")
	ann.post("/api/v2/messages/send", message).is(402).
		says("code", "insufficient_credits", "available", 0, "required", 1)
	ann.get("/api/credits/balance").is(200).says("available", 0, "position", before)
	bob.get("/api/v2/messages/unread-count").is(200).says("unread", 60)
	bob.get("/api/v2/messages/conversation/"+ann.id+"?limit=2").is(200).
		says("data.0.body", "hello", "data.0.from", ann.id, "has_more", true)
	ann.w.ask("POST", "/api/v2/messages/send", ann.token, message).is(400)
}

// talksUntilOutOfCredits has somebody with twelve credits call for five a minute.
func talksUntilOutOfCredits(t *testing.T, w *world, ann, bob *person) {
	t.Helper()
	key := w.operate("/api/operator/api-keys", map[string]any{"name": "test", "scopes": []string{"credits:deduct"}}).
		is(201).get("key")
	grant(t, w, ann, 38, key)
	ann.has(12)

	call := ann.post("/api/calls/initiate", map[string]any{"to": bob.id, "kind": "audio"}).is(201).
		says("call.state", "ringing", "call.price_per_minute", 5).get("call.id")
	ann.post("/api/calls/accept", map[string]any{"call_id": call}).is(403)
	bob.post("/api/calls/accept", map[string]any{"call_id": call}).is(200).says("call.state", "active", "call.charged", 5)
	ann.has(7)
	w.advance(59 * time.Second)
	ann.has(7)
	w.advance(time.Second)
	ann.has(2)
	w.advance(10 * time.Minute)
	ann.has(2)
	ann.get("/api/calls/history").is(200).says("data.0.id", call, "data.0.state", "ended",
		"data.0.end_reason", "out_of_credits", "data.0.charged", 10, "data.0.seconds", 120)
}

// grant gives somebody a small package less what is deducted from it.
func grant(t *testing.T, w *world, p *person, deduct int64, key string) {
	t.Helper()
	intent := p.post("/api/payments/intent/create", map[string]any{"package": "small"}).is(201).get("intent_id")
	p.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
	body := map[string]any{"user_id": p.id, "credits": deduct, "reason": "test"}
	first := w.ask("POST", "/api/credits/deduct", key, body, "Idempotency-Key", "deduct-"+intent).is(201).
		says("charged", deduct)
	again := w.ask("POST", "/api/credits/deduct", key, body, "Idempotency-Key", "deduct-"+intent).is(201).
		says("charged", deduct, "position", first.get("position"), "available", first.get("available"))
	if again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a replay does not say so: %v", again.header)
	}
	body["credits"] = deduct + 1
	w.ask("POST", "/api/credits/deduct", key, body, "Idempotency-Key", "deduct-"+intent).is(422)
}

// booksBalance looks at the books as finance does.
func booksBalance(t *testing.T, w *world) {
	t.Helper()
	finance := w.staff("finance")
	balance := w.ask("GET", "/api/finance/trial-balance", finance, nil).is(200)
	balance.says("totals.0.asset", "CREDIT", "totals.0.balance", 0, "totals.1.asset", "INR", "totals.1.balance", 0)
	admin := w.staff("admin")
	w.ask("GET", "/api/admin/audit?type=call.ended", admin, nil).is(200).says("data.0.type", "call.ended", "has_more", false)
	w.ask("GET", "/api/admin/audit", finance, nil).is(403)
	w.ask("GET", "/api/finance/journal?account=revenue/calls", finance, nil).is(200).says("data.0.type", "call.accepted")
}

// staff is the token of a new admin's or finance's.
func (w *world) staff(role string) string {
	w.t.Helper()
	w.operate("/api/operator/staff", map[string]any{
		"email": role + "@example.com", "password": password, "name": "Some Staff", "role": role,
	}).is(201)
	return w.ask("POST", "/api/auth/login", "", map[string]any{
		"email": role + "@example.com", "password": password,
	}).is(200).get("access_token")
}

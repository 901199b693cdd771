package stripe_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"truebond/commands/stripe"
	"truebond/events"
	"truebond/ledger"
)

// A stripeServer speaks as much of Stripe's API as the gateway uses.
type stripeServer struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex

	intents map[string]url.Values // what was asked for, by idempotency key
	states  map[string]string     // of intents
	refused map[string]any        // what cancelings were refused with, by idempotency key: Stripe keeps that for a day
	asked   []*http.Request
	fail    int // so many times it is not able to
}

func newStripeServer(t *testing.T) *stripeServer {
	s := &stripeServer{t: t, intents: map[string]url.Values{}, states: map[string]string{}, refused: map[string]any{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stripeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		s.t.Error(err)
	}
	s.asked = append(s.asked, r)
	if s.fail > 0 {
		s.fail--
		s.says(w, 503, map[string]any{"error": map[string]any{"type": "api_error", "message": "overloaded"}})
		return
	}
	intent, cancels := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/payment_intents/"), "/cancel")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/payment_intents":
		s.create(w, r.Header.Get("Idempotency-Key"), form)
	case r.Method == http.MethodPost && cancels:
		s.cancel(w, r.Header.Get("Idempotency-Key"), intent)
	default:
		s.says(w, 404, map[string]any{"error": map[string]any{"type": "invalid_request_error",
			"message": "no such route"}})
	}
}

func (s *stripeServer) create(w http.ResponseWriter, key string, form url.Values) {
	before, again := s.intents[key]
	if again && before.Encode() != form.Encode() {
		s.says(w, 400, map[string]any{"error": map[string]any{"type": "idempotency_error",
			"message": "other parameters"}})
		return
	}
	s.intents[key] = form
	id := "pi_" + strings.ReplaceAll(key, "/", "_")
	s.says(w, 200, map[string]any{"id": id, "object": "payment_intent", "client_secret": id + "_secret_1",
		"amount": json.Number(form.Get("amount")), "currency": form.Get("currency"),
		"status": "requires_payment_method"})
}

func (s *stripeServer) cancel(w http.ResponseWriter, key, intent string) {
	if state := s.states[intent]; state != "" && s.refused[key] == nil {
		s.refused[key] = map[string]any{"error": map[string]any{"type": "invalid_request_error",
			"code": "payment_intent_unexpected_state", "message": "not now",
			"payment_intent": map[string]any{"id": intent, "object": "payment_intent", "status": state,
				"shipping": map[string]any{"name": "Ann Lee"}}}}
	}
	if said := s.refused[key]; said != nil {
		s.says(w, 400, said)
		return
	}
	s.states[intent] = "canceled"
	s.says(w, 200, map[string]any{"id": intent, "object": "payment_intent", "status": "canceled"})
}

func (s *stripeServer) says(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.t.Error(err)
	}
}

const secretKey = "sk_test_of_nobody"

func TestAnIntentIsMadeOnceForAKey(t *testing.T) {
	server := newStripeServer(t)
	gateway := stripe.NewGateway(secretKey, server.URL)
	intent, secret, err := gateway.CreateIntent(t.Context(), "api/user/usr_1/k1", 5000, events.INR)
	if err != nil || !strings.HasPrefix(intent, "pi_") || secret != intent+"_secret_1" {
		t.Fatalf("made %q with %q: %v", intent, secret, err)
	}
	again, _, err := gateway.CreateIntent(t.Context(), "api/user/usr_1/k1", 5000, events.INR)
	if err != nil || again != intent {
		t.Errorf("the same key made %q after %q: %v", again, intent, err)
	}
	for key, form := range server.intents {
		if key != "intent/api/user/usr_1/k1/5000INR" || form.Get("amount") != "5000" || form.Get("currency") != "inr" ||
			form.Get("automatic_payment_methods[enabled]") != "true" || len(form) != 3 {
			t.Errorf("under %q Stripe was asked for %v", key, form)
		}
	}
	for _, r := range server.asked {
		if r.Header.Get("Authorization") != "Bearer "+secretKey || r.Header.Get("Stripe-Version") == "" {
			t.Errorf("Stripe was asked with %v", r.Header)
		}
	}
}

func TestAKeyMakesAnotherIntentAtAnotherPrice(t *testing.T) {
	gateway := stripe.NewGateway(secretKey, newStripeServer(t).URL)
	made := map[string]bool{}
	for _, price := range []struct {
		amount   int64
		currency events.Asset
	}{{5000, events.INR}, {6000, events.INR}, {5000, events.USD}} {
		intent, _, err := gateway.CreateIntent(t.Context(), "k1", price.amount, price.currency)
		if err != nil || made[intent] {
			t.Errorf("at %d %s Stripe made %q: %v", price.amount, price.currency, intent, err)
		}
		made[intent] = true
	}
}

func TestAStripeThatCannotForAMomentIsAskedAgainWithTheSameKey(t *testing.T) {
	server := newStripeServer(t)
	server.fail = 2
	gateway := stripe.NewGateway(secretKey, server.URL)
	if _, _, err := gateway.CreateIntent(t.Context(), "k1", 60, events.USD); err != nil {
		t.Fatal(err)
	}
	if len(server.asked) != 3 {
		t.Errorf("Stripe was asked %d times", len(server.asked))
	}
	for _, r := range server.asked {
		if key := r.Header.Get("Idempotency-Key"); key != "intent/k1/60USD" {
			t.Errorf("Stripe was asked under the key %q", key)
		}
	}
}

func TestWhatStripeSaysOfAFailureIsNotForTheBuyer(t *testing.T) {
	server := newStripeServer(t)
	server.fail = 100
	gateway := stripe.NewGateway(secretKey, server.URL)
	_, _, failed := gateway.CreateIntent(t.Context(), "k1", 60, events.USD)
	server.Close()
	_, _, gone := gateway.CreateIntent(t.Context(), "k2", 60, events.USD)
	for _, err := range []error{failed, gone} {
		var refusal *ledger.Refusal
		if !errors.As(err, &refusal) || refusal.Code != "payment_provider" || strings.Contains(refusal.Detail,
			"overloaded") {
			t.Errorf("the buyer is told %v", err)
		}
	}
}

func TestAnIntentIsCanceledUnlessItWasPaid(t *testing.T) {
	server := newStripeServer(t)
	gateway := stripe.NewGateway(secretKey, server.URL)
	for range 2 { // the second time it is canceled already
		if err := gateway.CancelIntent(t.Context(), "pi_1"); err != nil {
			t.Error(err)
		}
	}
	if server.states["pi_1"] != "canceled" {
		t.Errorf("at Stripe the intent is %s", server.states["pi_1"])
	}
	server.states["pi_2"], server.states["pi_3"] = "succeeded", "processing"
	if err := gateway.CancelIntent(t.Context(), "pi_2"); !errors.Is(err, stripe.ErrPaid) {
		t.Errorf("an intent that was paid: %v", err)
	}
	if err := gateway.CancelIntent(t.Context(), "pi_3"); !errors.Is(err, stripe.ErrAway) {
		t.Errorf("an intent that is being paid: %v", err)
	}
}

// Stripe answers a key as it did the first time, for a day.
func TestAnIntentWhosePaymentFailedIsCanceledThoughItCouldNotBeWhileItWasPaid(t *testing.T) {
	server := newStripeServer(t)
	gateway := stripe.NewGateway(secretKey, server.URL)
	server.states["pi_1"] = "processing"
	if err := gateway.CancelIntent(t.Context(), "pi_1"); !errors.Is(err, stripe.ErrAway) {
		t.Errorf("an intent that is being paid: %v", err)
	}
	delete(server.states, "pi_1")
	if err := gateway.CancelIntent(t.Context(), "pi_1"); err != nil || server.states["pi_1"] != "canceled" {
		t.Errorf("at Stripe the intent is %q: %v", server.states["pi_1"], err)
	}
}

func TestWhatIsLoggedOfARefusalOfStripesDoesNotTellOfTheBuyer(t *testing.T) {
	server := newStripeServer(t)
	server.states["pi_1"] = "processing"
	err := stripe.NewGateway(secretKey, server.URL).CancelIntent(t.Context(), "pi_1")
	if err == nil || !strings.Contains(err.Error(), "payment_intent_unexpected_state") ||
		strings.Contains(err.Error(), "Ann Lee") {
		t.Errorf("it says %v", err)
	}
}

// A server that stops takes no more connections, also none of its own.
func TestASimulatedPaymentThatDoesNotArriveMayBeMadeAgain(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	simulation := stripe.NewSimulation("a secret", func() string { return server.URL })
	if _, err := simulation.Pay(t.Context(), "pi_sim1", 5000, events.INR); !errors.Is(err, stripe.ErrAway) {
		t.Errorf("it is answered with %v", err)
	}
}

// It was made when there was a key, and is to be paid with money.
func TestAnIntentOfStripesIsNotPaidBySimulation(t *testing.T) {
	simulation := stripe.NewSimulation("a secret", func() string { t.Error("a webhook is sent"); return "" })
	if _, err := simulation.Pay(t.Context(), "pi_1", 5000, events.INR); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("it is answered with %v", err)
	}
}

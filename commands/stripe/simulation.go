package stripe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"truebond/events"
	"truebond/ledger"
)

// A Simulation stands where Stripe does when no key is set. It makes intents out of
// nothing, and its payments reach the server as Stripe's do: by a signed webhook.
type Simulation struct {
	secret string
	url    func() string // of the server's webhook
	client *http.Client
}

// NewSimulation signs with the server's own webhook secret. It asks for the webhook's
// address each time, since that is known only once the server listens.
func NewSimulation(secret string, url func() string) *Simulation {
	return &Simulation{secret: secret, url: url, client: &http.Client{Timeout: timeoutMax}}
}

// What the ids of made-up intents and events begin with.
const (
	simIntent = "pi_sim"
	simEvent  = "evt_sim"
)

// NewEventID makes up the id of an event.
func NewEventID() string { return simEvent + random(12) }

// CreateIntent makes up an intent.
func (*Simulation) CreateIntent(context.Context, string, int64, events.Asset) (intent, clientSecret string, err error) {
	intent = simIntent + random(12)
	return intent, intent + "_secret_" + random(12), nil
}

// CancelIntent has nobody to tell.
func (*Simulation) CancelIntent(context.Context, string) error { return nil }

// Pay sends the server the webhook that Stripe would send when an intent is paid. The
// same intent gives the same Stripe event. One that was made at Stripe, when there was a key, is
// ledger.ErrNotFound.
func (s *Simulation) Pay(ctx context.Context, intent string, amountMinor int64, currency events.Asset) (
	stripeEvent string, err error) {
	number, ours := strings.CutPrefix(intent, simIntent)
	if !ours {
		return "", ledger.ErrNotFound
	}
	stripeEvent = simEvent + number
	body, err := PaidEvent(stripeEvent, stripego.EventTypePaymentIntentSucceeded, intent, amountMinor,
		string(currency), time.Now())
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url(), bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("simulate a payment: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Stripe-Signature", Sign(body, s.secret, time.Now()))
	answer, err := s.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("simulate a payment: %w", away(err))
	}
	defer answer.Body.Close() //nolint:errcheck // it was read as far as it matters
	said, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("simulate a payment: %w", away(err))
	}
	if answer.StatusCode != http.StatusOK {
		return "", away(fmt.Errorf("the webhook answered %d: %s", answer.StatusCode, said))
	}
	return stripeEvent, nil
}

// PaidEvent is the body of a Stripe event that announces a payment, as Stripe would send
// it: a payment_intent.succeeded or a checkout.session.completed.
func PaidEvent(id string, kind stripego.EventType, intent string, amountMinor int64, currency string,
	created time.Time) ([]byte, error) {
	var object map[string]any
	switch kind {
	case stripego.EventTypePaymentIntentSucceeded:
		object = map[string]any{
			"id": intent, "object": "payment_intent", "status": "succeeded", "amount": amountMinor,
			"amount_received": amountMinor, "currency": strings.ToLower(currency),
		}
	case stripego.EventTypeCheckoutSessionCompleted:
		object = map[string]any{
			"id": "cs_sim" + strings.TrimPrefix(intent, "pi_"), "object": "checkout.session",
			"payment_intent": intent, "payment_status": "paid", "amount_total": amountMinor,
			"currency": strings.ToLower(currency),
		}
	default:
		return nil, fmt.Errorf("a %s announces no payment", kind)
	}
	return Event(id, kind, object, created)
}

// Event is the body of a Stripe event about an object, as Stripe would send it.
func Event(id string, kind stripego.EventType, object map[string]any, created time.Time) ([]byte, error) {
	return json.Marshal(map[string]any{
		"id": id, "object": "event", "api_version": stripego.APIVersion, "created": created.Unix(),
		"type": kind, "livemode": false, "pending_webhooks": 1, "data": map[string]any{"object": object},
	})
}

// Sign is the Stripe-Signature of a body at a time.
func Sign(body []byte, secret string, at time.Time) string {
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{
		Payload: body, Secret: secret, Timestamp: at,
	}).Header
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

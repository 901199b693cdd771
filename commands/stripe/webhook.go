// Package stripe talks to Stripe, or to a simulation of it when no key is set: it makes
// payment intents, and tells real webhooks from forged ones.
package stripe

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"truebond/ledger"
)

// tolerance is how old a webhook's signature may be. It is judged by the wall clock.
const tolerance = 300 * time.Second

// textMax bounds an id, a type and a currency. Stripe's ids have no more characters.
const textMax = 255

// Why a webhook is not believed.
var (
	ErrSignature = ledger.Refuse("webhook_signature", "The Stripe-Signature does not fit the body, or is too old.")
	ErrVersion   = ledger.Refuse("webhook_api_version", "This webhook was made for another version of Stripe's API. "+
		"Make the endpoint in Stripe's dashboard at version "+stripego.APIVersion+".")
	ErrBody = ledger.Refuse("webhook_body", "The body is not a Stripe event.")
)

// Verify checks a webhook's signature over its raw body and says what it announces.
func Verify(body []byte, signature, secret string) (ledger.Announcement, error) {
	if err := webhook.ValidatePayloadWithTolerance(body, signature, secret, tolerance); err != nil {
		return ledger.Announcement{}, ErrSignature
	}
	var event stripego.Event
	if err := json.Unmarshal(body, &event); err != nil || event.ID == "" || event.Data == nil {
		return ledger.Announcement{}, ErrBody
	}
	if event.APIVersion != stripego.APIVersion {
		return ledger.Announcement{}, ErrVersion
	}
	a := ledger.Announcement{
		StripeEvent: event.ID,
		StripeType:  string(event.Type),
		Created:     time.Unix(event.Created, 0).UTC(),
	}
	if err := read(&a, event.Data.Raw); err != nil {
		return a, errors.Join(ErrBody, err)
	}
	if len(a.Object) > textMax || strings.ContainsFunc(a.Object, unicode.IsControl) {
		a.Object = "" // of a coupon, or the like, that a merchant has named
	}
	if !fits(a) {
		return a, ErrBody // the log could not take it
	}
	return a, nil
}

// fits tells whether texts and a time are such as Stripe's.
func fits(a ledger.Announcement) bool {
	for _, text := range []string{a.StripeEvent, a.StripeType, a.Intent, a.Currency} {
		strange := func(r rune) bool { return r <= ' ' || r > '~' }
		if len(text) > textMax || strings.ContainsFunc(text, strange) {
			return false
		}
	}
	return a.Created.Year() >= 1970 && a.Created.Year() <= 9999
}

// read takes from the event's object what its type says of a payment. Of the types that
// nothing is done about, it keeps the object's id.
func read(a *ledger.Announcement, object json.RawMessage) error {
	switch stripego.EventType(a.StripeType) {
	case stripego.EventTypePaymentIntentSucceeded:
		var intent stripego.PaymentIntent
		if err := json.Unmarshal(object, &intent); err != nil {
			return fmt.Errorf("read a payment intent: %w", err)
		}
		a.Object, a.Intent, a.Paid = intent.ID, intent.ID, true
		a.Amount, a.Currency = intent.AmountReceived, currency(intent.Currency)
	case stripego.EventTypeCheckoutSessionCompleted, stripego.EventTypeCheckoutSessionAsyncPaymentSucceeded:
		var session stripego.CheckoutSession
		if err := json.Unmarshal(object, &session); err != nil {
			return fmt.Errorf("read a checkout session: %w", err)
		}
		a.Object = session.ID
		if session.PaymentIntent != nil {
			a.Intent = session.PaymentIntent.ID
		}
		a.Paid = session.PaymentStatus == stripego.CheckoutSessionPaymentStatusPaid
		a.Amount, a.Currency = session.AmountTotal, currency(session.Currency)
	default:
		var other struct {
			ID any `json:"id"`
		}
		if json.Unmarshal(object, &other) == nil {
			a.Object, _ = other.ID.(string) // not all objects have one
		}
	}
	return nil
}

func currency(c stripego.Currency) string { return strings.ToUpper(string(c)) }

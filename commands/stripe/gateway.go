package stripe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"truebond/events"
	"truebond/ledger"
)

// timeoutMax bounds one call to Stripe, retries by its library not counted.
const timeoutMax = 20 * time.Second

// A Gateway makes payment intents at Stripe.
type Gateway struct {
	api *client.API
}

// NewGateway talks to Stripe with a secret key. The address is Stripe's when it is empty.
func NewGateway(secretKey, address string) *Gateway {
	backend := func(kind stripego.SupportedBackend) stripego.Backend {
		config := &stripego.BackendConfig{
			MaxNetworkRetries: stripego.Int64(2),
			LeveledLogger:     &stripego.LeveledLogger{Level: stripego.LevelNull},
		}
		if address != "" {
			config.URL = stripego.String(address)
		}
		return stripego.GetBackendWithConfig(kind, config)
	}
	return &Gateway{api: client.New(secretKey, &stripego.Backends{
		API:     backend(stripego.APIBackend),
		Connect: backend(stripego.ConnectBackend),
		Uploads: backend(stripego.UploadsBackend),
	})}
}

// CreateIntent asks Stripe for a payment intent. The same key and amount give the same intent. For
// another amount, as when prices have changed since an attempt that failed, Stripe would refuse
// the key for a day.
func (g *Gateway) CreateIntent(ctx context.Context, key string, amountMinor int64, currency events.Asset) (
	intent, clientSecret string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutMax)
	defer cancel()
	params := &stripego.PaymentIntentParams{
		Amount:                  stripego.Int64(amountMinor),
		Currency:                stripego.String(strings.ToLower(string(currency))),
		AutomaticPaymentMethods: &stripego.PaymentIntentAutomaticPaymentMethodsParams{Enabled: stripego.Bool(true)},
	}
	params.Context = ctx
	params.SetIdempotencyKey(fmt.Sprintf("intent/%s/%d%s", key, amountMinor, currency))
	made, err := g.api.PaymentIntents.New(params)
	if err != nil {
		return "", "", fmt.Errorf("make a payment intent: %w", away(err))
	}
	return made.ID, made.ClientSecret, nil
}

// CancelIntent takes a payment intent back at Stripe, so that it cannot be paid any more. It asks under
// no key of ours, since canceling twice comes to the same: for a day Stripe would say again that an
// intent is being paid, also when that has failed.
func (g *Gateway) CancelIntent(ctx context.Context, intent string) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutMax)
	defer cancel()
	params := &stripego.PaymentIntentCancelParams{}
	params.Context = ctx
	_, err := g.api.PaymentIntents.Cancel(intent, params)
	var refused *stripego.Error
	var state stripego.PaymentIntentStatus
	if errors.As(err, &refused) && refused.PaymentIntent != nil {
		state = refused.PaymentIntent.Status
	}
	switch {
	case err == nil || state == stripego.PaymentIntentStatusCanceled:
		return nil // also by an attempt before, whose answer was lost
	case state == stripego.PaymentIntentStatusSucceeded:
		return ErrPaid
	}
	return fmt.Errorf("cancel a payment intent: %w", away(err))
}

// ErrPaid says that a payment cannot be canceled any more. Its webhook is on its way.
var ErrPaid = ledger.Refuse(ledger.CodePaymentGranted, "The payment was made already.")

// ErrAway says that Stripe did not do what it was asked for.
var ErrAway = ledger.Refuse("payment_provider",
	"The payment provider cannot do this at the moment. Try again in a moment.")

// away hides what Stripe said from the caller and keeps it for the log, without the intent that Stripe
// tells of: its buyer's name and address stand in it.
func away(err error) error {
	var said *stripego.Error
	if errors.As(err, &said) {
		err = fmt.Errorf("answered %d %s %s to Stripe's request %s: %s",
			said.HTTPStatusCode, said.Type, said.Code, said.RequestID, said.Msg)
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

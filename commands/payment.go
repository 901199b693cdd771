package commands

import (
	"context"
	"time"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// Payments makes payment intents outside. See commands/stripe.
type Payments interface {
	// CreateIntent makes an intent; the same key and amount make the same one.
	CreateIntent(ctx context.Context, key string, amountMinor int64, currency events.Asset) (
		intent, clientSecret string, err error)
	// CancelIntent takes an intent back; one that is canceled already stays so.
	CancelIntent(ctx context.Context, intent string) error
}

// A Simulator pays intents in place of a buyer, by a signed webhook. One that it has not made is
// ledger.ErrNotFound.
type Simulator interface {
	Pay(ctx context.Context, intent string, amountMinor int64, currency events.Asset) (stripeEvent string, err error)
}

// Purchase asks for a payment intent. It adds no credits.
type Purchase struct {
	Package  string       `json:"package"`
	Currency events.Asset `json:"currency,omitempty"` // INR if not given
}

func (in Purchase) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Package, validation.Required, validation.Length(1, ledger.PackageNameMax)),
		validation.Field(&in.Currency, oneOf(events.Currencies...)),
	)
}

// Intent is a wish to buy, to be paid in the browser with its client secret.
type Intent struct {
	Receipt
	IntentID     string       `json:"intent_id"`
	ClientSecret string       `json:"client_secret"`
	Amount       int64        `json:"amount"` // minor units
	Currency     events.Asset `json:"currency"`
	Credits      int64        `json:"credits"`
	Status       string       `json:"status"`
}

// Purchase makes a payment intent at today's price.
func (s *Service) Purchase(ctx context.Context, in Purchase) (Intent, error) {
	key, request := once(ctx)
	quote, used, err := s.quote(ctx, key, in)
	if err != nil {
		return Intent{}, err
	}
	wish := ledger.NewIntent{User: ledger.CallerOf(ctx).Actor.ID, Lot: newID("lot"), Quote: quote}
	if !used {
		if err := s.createIntent(ctx, key, &wish); err != nil {
			return Intent{}, err
		}
	}
	done, err := s.ask(ctx, key, request, ledger.IntendPayment(wish))
	if err != nil {
		return Intent{}, err
	}
	d := done.Event.Data.(events.PaymentIntended)
	secret, err := s.Vault.Open(ctx, d.ClientSecret)
	if err != nil {
		return Intent{}, err
	}
	return Intent{
		Receipt: receipt(done), IntentID: d.Intent, ClientSecret: secret, Amount: d.Amount, Currency: d.Currency,
		Credits: d.Credits, Status: string(ledger.PaymentIntended),
	}, nil
}

// quote is today's price, unless the key was used: the first answer is given again then,
// or the request is another one, and nobody is to be asked for an intent.
func (s *Service) quote(ctx context.Context, key string, in Purchase) (quote ledger.Quote, used bool, err error) {
	var refused error
	err = s.look(ctx, func(tx *ledger.Tx) {
		used = ledger.Load(tx, ledger.Keys, key).Position != 0
		quote, refused = ledger.QuotePackage(ledger.Load(tx, ledger.Packages, ledger.Current), in.Package, in.Currency)
	})
	if err == nil && !used {
		err = refused
	}
	return quote, used, err
}

// createIntent has an intent made outside, and seals what its buyer needs to pay it.
func (s *Service) createIntent(ctx context.Context, key string, wish *ledger.NewIntent) error {
	intent, secret, err := s.Payments.CreateIntent(ctx, key, wish.Quote.Amount, wish.Quote.Currency)
	if err != nil {
		return err
	}
	wish.Intent = intent
	wish.ClientSecret, err = s.Vault.Seal(ctx, wish.User, key, "client_secret", secret)
	return err
}

// IntentID names an intent in a path.
type IntentID struct {
	ID string `param:"id"`
}

// Canceled is a wish to buy that was taken back.
type Canceled struct {
	Receipt
	IntentID string `json:"intent_id"`
	Status   string `json:"status"`
}

// CancelIntent takes a wish to buy back, at Stripe first: what was paid there in the
// meantime cannot be taken back here.
func (s *Service) CancelIntent(ctx context.Context, in IntentID) (Canceled, error) {
	user := ledger.CallerOf(ctx).Actor.ID
	payment, err := s.ownPayment(ctx, user, in.ID)
	if err != nil {
		return Canceled{}, err
	}
	if payment.Status == ledger.PaymentIntended {
		if err := s.Payments.CancelIntent(ctx, in.ID); err != nil {
			return Canceled{}, err
		}
	}
	done, err := s.ask(ctx, "cancel/"+in.ID, nil, ledger.CancelPayment(user, in.ID))
	if err != nil {
		return Canceled{}, err
	}
	canceled := Canceled{Receipt: receipt(done), IntentID: in.ID, Status: string(ledger.PaymentCanceled)}
	if done.Replayed { // it may have been paid all the same since
		payment, err = s.ownPayment(ctx, user, in.ID)
		canceled.Status = string(payment.Status)
	}
	return canceled, err
}

// ownPayment is a payment of this user's; others cannot be told from those that do not exist.
func (s *Service) ownPayment(ctx context.Context, user, intent string) (payment ledger.Payment, err error) {
	err = s.look(ctx, func(tx *ledger.Tx) { payment = ledger.Load(tx, ledger.Payments, intent) })
	if err == nil && payment.User != user {
		err = ledger.ErrNotFound
	}
	return payment, err
}

// Simulate asks to pay an intent in the buyer's place.
type Simulate struct {
	IntentID string `json:"intent_id"`
}

func (in Simulate) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.IntentID, validation.Required, validation.Length(1, 255)))
}

// Simulated says which Stripe event was sent to the webhook.
type Simulated struct {
	IntentID    string `json:"intent_id"`
	StripeEvent string `json:"stripe_event"`
}

// Simulate sends the server the webhook that Stripe would send. It adds no credits
// itself: the webhook does, as always.
func (s *Service) Simulate(ctx context.Context, in Simulate) (Simulated, error) {
	if s.Simulator == nil {
		return Simulated{}, ledger.ErrNotFound
	}
	payment, err := s.ownPayment(ctx, ledger.CallerOf(ctx).Actor.ID, in.IntentID)
	if err != nil {
		return Simulated{}, err
	}
	event, err := s.Simulator.Pay(ctx, in.IntentID, payment.Amount, payment.Currency)
	if err != nil {
		return Simulated{}, err
	}
	return Simulated{IntentID: in.IntentID, StripeEvent: event}, nil
}

// Webhook is a webhook as it came.
type Webhook struct {
	Body      []byte `body:"raw"`
	Signature string `header:"Stripe-Signature"`
}

// WebhookTaken says that a webhook's facts are in the log.
type WebhookTaken struct {
	Receipt
	Received  bool `json:"received"`
	CameAgain bool `json:"replayed"` // as the receipt says, in the body too
}

// webhookTimeout is how long a webhook may wait for the log; Stripe sends it again.
const webhookTimeout = 15 * time.Second

// TakeWebhook puts into the log what Stripe says, once for its event's id, however
// often and however many at a time come.
func (s *Service) TakeWebhook(ctx context.Context, in Webhook) (WebhookTaken, error) {
	said, err := s.VerifyWebhook(in.Body, in.Signature)
	if err != nil {
		return WebhookTaken{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	done, err := s.Writer.Do(ctx, writer.Command{
		Key: "stripe/" + said.StripeEvent, Actor: events.Actor{Kind: events.ActorStripe, ID: said.StripeEvent},
		Effective: said.Created, Joins: true, Decide: ledger.ConfirmPayment(said),
	})
	if err != nil {
		return WebhookTaken{}, err
	}
	return WebhookTaken{Receipt: receipt(done), Received: true, CameAgain: done.Replayed}, nil
}

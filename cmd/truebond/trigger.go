package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	stripego "github.com/stripe/stripe-go/v76"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/settings"
	"truebond/commands/stripe"
)

// A stripeEvent is what a person wants Stripe to say.
type stripeEvent struct {
	kind     string
	id       string // empty: a new one
	intent   string
	amount   int64 // in minor units
	currency string
	object   string // file with the event's object, for kinds that we cannot make up
}

func triggerCommand() *cobra.Command {
	var to target
	var e stripeEvent
	var secret string
	cmd := &cobra.Command{
		Use:   "trigger EVENT",
		Short: "Send a server a signed Stripe event, without a Stripe account",
		Long: `Send a server a signed event as Stripe would, at API version ` + stripego.APIVersion + `,
and print what it answers. It is signed with STRIPE_WEBHOOK_SECRET, or with the secret in
the data folder.

A payment_intent.succeeded and a checkout.session.completed are made up from --intent; amount
and currency are those of the intent, unless you say otherwise. For any other event, give the
object that it is about as JSON, by --object.`,
		Example: `  truebond trigger payment_intent.succeeded --intent pi_sim123
  truebond trigger checkout.session.completed --intent pi_sim123 --amount 5000 --currency INR
  truebond trigger charge.refunded --object charge.json`,
		Args: exactly("the event, such as payment_intent.succeeded,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.kind = args[0]
			if err := e.complete(cmd.Context(), to); err != nil {
				return err
			}
			body, err := interruptible(cmd.Context(), func() ([]byte, error) { return e.body(cmd.InOrStdin(), time.Now()) })
			if err != nil {
				return err
			}
			if secret, err = to.webhookSecret(secret); err != nil {
				return err
			}
			base, err := to.publicURL()
			if err != nil {
				return err
			}
			return postWebhook(cmd.Context(), base, body, secret, cmd.OutOrStdout())
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&e.intent, "intent", "", "id of the payment intent that was paid")
	cmd.Flags().Int64Var(&e.amount, "amount", 0, "what was paid, in minor units (default: the intent's)")
	cmd.Flags().StringVar(&e.currency, "currency", "", "in which currency (default: the intent's)")
	cmd.Flags().StringVar(&e.id, "id", "", "the event's id, to send one event again (default: a new one)")
	cmd.Flags().StringVar(&e.object, "object", "", "file with the event's object as JSON; - is standard input")
	cmd.Flags().StringVar(&secret, "secret", "", "secret to sign with (default: the server's)")
	return cmd
}

func (e *stripeEvent) paid() bool {
	kind := stripego.EventType(e.kind)
	return e.object == "" &&
		(kind == stripego.EventTypePaymentIntentSucceeded || kind == stripego.EventTypeCheckoutSessionCompleted)
}

// complete fills in what was left out.
func (e *stripeEvent) complete(ctx context.Context, t target) error {
	if e.id == "" {
		e.id = stripe.NewEventID()
	}
	switch {
	case e.object != "" && (e.intent != "" || e.amount != 0 || e.currency != ""):
		return misused("--object says all: --intent, --amount and --currency are for events without one")
	case e.amount < 0:
		return misused("--amount %d is below 0", e.amount)
	case !e.paid() && e.object == "":
		return misused("--object is missing: only a %s and a %s can be made up",
			stripego.EventTypePaymentIntentSucceeded, stripego.EventTypeCheckoutSessionCompleted)
	case !e.paid() || e.intent != "" && e.amount != 0 && e.currency != "":
		return nil
	case e.intent == "":
		return misused("--intent is missing")
	}
	var known struct {
		Amount   int64
		Currency string
	}
	server, err := t.connect(ctx)
	if err == nil {
		path := "/api/operator/intents/" + url.PathEscape(e.intent)
		err = server.call(ctx, http.MethodGet, path, nil, &known)
	}
	if err != nil {
		return fmt.Errorf("look up the intent (--amount and --currency make that needless): %w", err)
	}
	if e.amount == 0 {
		e.amount = known.Amount
	}
	if e.currency == "" {
		e.currency = known.Currency
	}
	return nil
}

// body is the event as Stripe would send it.
func (e *stripeEvent) body(stdin io.Reader, now time.Time) ([]byte, error) {
	if e.paid() {
		return stripe.PaidEvent(e.id, stripego.EventType(e.kind), e.intent, e.amount, e.currency, now)
	}
	from := stdin
	if e.object != "-" {
		file, err := os.Open(e.object)
		if err != nil {
			return nil, fmt.Errorf("read the event's object: %w", err)
		}
		defer file.Close() //nolint:errcheck // it is only read
		from = file
	}
	var object map[string]any
	decoder := json.NewDecoder(io.LimitReader(from, answerBytesMax))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("read the event's object: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read the event's object: something follows it")
	}
	return stripe.Event(e.id, stripego.EventType(e.kind), object, now)
}

// webhookSecret is what the server verifies webhooks with.
func (t target) webhookSecret(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	s, err := settings.Read()
	if err != nil || s.StripeWebhookSecret != "" {
		return s.StripeWebhookSecret, err
	}
	secret, err := datafolder.Folder{Path: t.data}.ReadSecret(datafolder.WebhookSecretFile)
	if err != nil {
		return "", fmt.Errorf("%w; name the server's folder by --data, or its secret by --secret", err)
	}
	return secret, nil
}

// publicURL is where the server takes webhooks.
func (t target) publicURL() (string, error) {
	if t.server != "" {
		return strings.TrimRight(t.server, "/"), nil
	}
	note, err := datafolder.Folder{Path: t.data}.ReadNote()
	if err != nil || !(datafolder.Folder{Path: t.data}).IsServed() {
		return "", fmt.Errorf("%w on the data folder %s", errNoServer, t.data)
	}
	return note.URL, nil
}

// postWebhook sends a signed event and prints the answer. An answer that would make
// Stripe send the event again is an error.
func postWebhook(ctx context.Context, base string, body []byte, secret string, out io.Writer) error {
	address := base + "/api/webhooks/stripe"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Stripe-Signature", stripe.Sign(body, secret, time.Now()))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("send the event: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read as far as it matters
	if answer.StatusCode >= 300 {
		return readProblem(answer)
	}
	said, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	if err != nil {
		return errors.Join(errors.New("read the server's answer"), err)
	}
	_, err = fmt.Fprintf(out, "%d %s\n", answer.StatusCode, bytes.TrimSpace(said))
	return err
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"truebond/cmd/truebond/datafolder"
)

// hook is a server that takes webhooks with a secret, as Stripe's library verifies them,
// and knows one intent. It gives the folder and the events that it took.
func hook(t *testing.T, secret string) (data datafolder.Folder, took *[]stripego.Event) {
	t.Helper()
	took = &[]stripego.Event{}
	data, _, _ = serving(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/operator/intents/pi_sim1":
			saying(200, `{"amount":5000,"currency":"INR"}`)(w, r)
		case "/api/webhooks/stripe":
			body, _ := io.ReadAll(r.Body)
			event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), secret)
			if err != nil {
				saying(400, `{"detail":"forged"}`)(w, r)
				return
			}
			*took = append(*took, event)
			saying(200, `{"received":true,"replayed":false}`)(w, r)
		default:
			saying(404, `{"detail":"There is no such intent."}`)(w, r)
		}
	})
	return data, took
}

func TestATriggeredPaymentIsWhatStripeWouldSend(t *testing.T) {
	alone(t)
	const secret = "whsec_of_the_folder"
	data, took := hook(t, secret)
	if err := os.WriteFile(data.Join(datafolder.WebhookSecretFile), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(args ...string) said { return truebond(t, "", append(args, "--data", data.Path)...) }
	at("trigger", "payment_intent.succeeded", "--intent", "pi_sim1").ends(t, exitDone, `200 {"received":true`)
	at("trigger", "checkout.session.completed", "--intent", "pi_sim1", "--amount", "1", "--currency", "EUR").
		ends(t, exitDone, "200")
	at("trigger", "payment_intent.succeeded", "--intent", "pi_2", "--amount", "7", "--currency", "USD", "--id", "evt_1").
		ends(t, exitDone, "200")

	var intent stripego.PaymentIntent
	unpack(t, (*took)[0], &intent)
	if intent.ID != "pi_sim1" || intent.AmountReceived != 5000 || intent.Currency != "inr" {
		t.Errorf("the intent is %+v", intent)
	}
	var session stripego.CheckoutSession
	unpack(t, (*took)[1], &session)
	if session.PaymentIntent.ID != "pi_sim1" || session.AmountTotal != 1 || session.Currency != "eur" {
		t.Errorf("the session is %+v", session)
	}
	if (*took)[2].ID != "evt_1" || (*took)[0].ID == (*took)[1].ID {
		t.Errorf("the ids are %s, %s, %s", (*took)[0].ID, (*took)[1].ID, (*took)[2].ID)
	}
}

func unpack(t *testing.T, e stripego.Event, into any) {
	t.Helper()
	if err := json.Unmarshal(e.Data.Raw, into); err != nil {
		t.Fatal(err)
	}
}

func TestAnyOtherEventIsSentWithAnObjectOfYours(t *testing.T) {
	alone(t)
	t.Setenv("STRIPE_WEBHOOK_SECRET", "whsec_env")
	data, took := hook(t, "whsec_env")
	file := filepath.Join(t.TempDir(), "charge.json")
	if err := os.WriteFile(file, []byte(`{"id":"ch_1","amount":9007199254740993}`), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(object, stdin string) said {
		return truebond(t, stdin, "trigger", "charge.refunded", "--object", object, "--data", data.Path)
	}
	with(file, "").ends(t, exitDone, "200")
	with("-", `{"id":"ch_2"}`).ends(t, exitDone, "200")
	with("-", "[1]").ends(t, exitFailed, "object")
	with("-", `{"id":"ch_3"} {}`).ends(t, exitFailed, "something follows it")
	if e := (*took)[0]; e.Type != "charge.refunded" || !strings.Contains(string(e.Data.Raw), "9007199254740993") {
		t.Errorf("the event is %s: %s", e.Type, e.Data.Raw)
	}
	if !strings.Contains(string((*took)[1].Data.Raw), "ch_2") {
		t.Errorf("the second object is %s", (*took)[1].Data.Raw)
	}
}

func TestWhatTheServerRefusesFails(t *testing.T) {
	alone(t)
	data, took := hook(t, "whsec_right")
	given := []string{"trigger", "payment_intent.succeeded", "--data", data.Path, "--secret"}
	truebond(t, "", append(given, "whsec_wrong", "--intent", "pi_sim1")...).ends(t, exitFailed, "forged (400)")
	truebond(t, "", append(given, "whsec_right", "--intent", "pi_9")...).ends(t, exitFailed, "There is no such intent.")
	truebond(t, "", append(given, "", "--intent", "pi_sim1")...).ends(t, exitMisused, "--secret")
	if len(*took) != 0 {
		t.Errorf("the server took %v", *took)
	}
	truebond(t, "", append(given, "whsec_right", "--intent", "pi_sim1")...).ends(t, exitDone, "200")
}

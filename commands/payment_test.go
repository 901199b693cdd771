package commands

import (
	"context"
	"reflect"
	"testing"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// till is a Stripe that makes one intent.
type till struct{ Payments }

func (till) CreateIntent(context.Context, string, int64, events.Asset) (intent, secret string, err error) {
	return "pi_1", "pi_1_secret", nil
}

func TestAPurchaseIsAnsweredWithAllThatItTakesToPay(t *testing.T) {
	o := newOffice(t)
	ann := o.signsUp("ann@example.com")
	o.Payments = till{}
	got, err := o.Purchase(as(t, ann), Purchase{Package: "small"})
	if err != nil {
		t.Fatal(err)
	}
	want := Intent{Receipt: got.Receipt, IntentID: "pi_1", ClientSecret: "pi_1_secret", Amount: 5000,
		Currency: events.INR, Credits: 50, Status: "intended"}
	if !reflect.DeepEqual(got, want) || got.Position != o.clerk.last {
		t.Errorf("it is answered with %+v, want %+v", got, want)
	}
}

// scribe notes what it is asked for.
type scribe struct {
	*clerk
	asked writer.Command
}

func (s *scribe) Do(ctx context.Context, asked writer.Command) (writer.Done, error) {
	s.asked = asked
	return s.clerk.Do(ctx, asked)
}

// Books as of a day go by when Stripe says that it happened.
func TestAWebhookIsKeptAsItsEventOfItsTime(t *testing.T) {
	o := newOffice(t)
	wrote := &scribe{clerk: o.clerk}
	o.Writer = wrote
	created := morning.Add(-time.Hour)
	o.VerifyWebhook = func([]byte, string) (ledger.Announcement, error) {
		return ledger.Announcement{StripeEvent: "evt_1", StripeType: "coupon.created", Created: created}, nil
	}
	got, err := o.TakeWebhook(t.Context(), Webhook{})
	if err != nil || !got.Received || got.CameAgain || got.Position != o.clerk.last {
		t.Errorf("it is answered with %+v and %v", got, err)
	}
	a := wrote.asked
	if a.Key != "stripe/evt_1" || !a.Effective.Equal(created) || !a.Joins ||
		a.Actor != (events.Actor{Kind: events.ActorStripe, ID: "evt_1"}) {
		t.Errorf("the writer is asked for %+v", a)
	}
}

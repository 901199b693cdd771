package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

func TestATestClockIsRefusedTogetherWithALiveKey(t *testing.T) {
	for _, key := range []string{"sk_live_1", "rk_live_1"} {
		t.Setenv("STRIPE_SECRET_KEY", key)
		_, err := server.Start(t.Context(), server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", TestClock: true})
		if err == nil || !strings.Contains(err.Error(), "live Stripe key") || strings.Contains(err.Error(), key) {
			t.Errorf("with %s the server says %v", key, err)
		}
	}
}

func TestWithoutATestClockTimeCannotBeMoved(t *testing.T) {
	w := serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	w.ask("POST", "/api/test-clock/advance", "", map[string]any{"seconds": 60}).is(404)
}

func TestATestClockIsMovedForwardOnly(t *testing.T) {
	w := begin(t, embedded)
	for body, pointer := range map[string]string{
		`{}`: "#/seconds", `{"seconds":0}`: "#/seconds", `{"seconds":-60}`: "#/seconds",
		`{"seconds":31708801}`: "#/seconds",
		`{"seconds":1.5}`:      "#/seconds", `{"seconds":"60"}`: "#/seconds", `{"seconds":60,"minutes":1}`: "#/minutes",
	} {
		a := w.ask("POST", "/api/test-clock/advance", "", []byte(body))
		if a.status != 400 && a.status != 422 || a.get("errors.0.pointer") != pointer {
			t.Errorf("%s is answered %d %s", body, a.status, a.body)
		}
	}
	before := w.now()
	if after := w.now(); !after.Equal(before.Add(time.Second)) {
		t.Errorf("a second after %s it is %s: the clock does not stand still", before, after)
	}
}

// now moves the clock by a second, and says where it is then.
func (w *world) now() time.Time {
	w.t.Helper()
	text := w.ask("POST", "/api/test-clock/advance", "", map[string]any{"seconds": 1}).is(200).get("now")
	now, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return now
}

func TestATestClockGoesOnFromTheLastEvent(t *testing.T) {
	o := server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", TestClock: true}
	var last time.Time
	t.Run("moved", func(t *testing.T) {
		w := serveFrom(t, o)
		ann, bob := w.signsUp(), w.signsUp()
		w.advance(30 * 24 * time.Hour)
		last = w.now()
		ann.sends(bob, "a month later")
	})
	w := serveFrom(t, o)
	if now := w.now(); !now.Equal(last.Add(time.Second)) {
		t.Errorf("the last event was at %s, the clock goes on to %s", last, now)
	}
}

func TestAnOperatorSeesThatTheClockIsAhead(t *testing.T) {
	o := server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", TestClock: true}
	t.Run("a clock that is wrong", func(t *testing.T) {
		w := serveFrom(t, o)
		w.advance(time.Hour)
		w.signsUp()
	})
	o.TestClock = false
	var ahead float64
	if _, err := fmt.Sscan(serveFrom(t, o).metric("truebond_clock_ahead_seconds"), &ahead); err != nil {
		t.Fatal(err)
	}
	if ahead < 3500 || ahead > 3600 {
		t.Errorf("it is said to be ahead by %g seconds", ahead)
	}
}

func TestTheTestClockCanBeMovedBySeveralAtOnce(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	ann.post("/api/payments/simulate/payment", map[string]any{"intent_id": ann.buys("xlarge")}).is(200)
	call := ann.calls(bob)
	bob.does("accept", call).is(200)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { w.advance(10 * time.Minute) })
	}
	all.Wait()
	ann.get("/api/calls/history").is(200).says("data.0.state", "active", "data.0.charged", 205)
}

// What is set aside, and what was given for a while, goes by itself. No route asks for
// either yet; the writer does.
func TestHoldsAndLotsEndByTimers(t *testing.T) {
	s, err := server.Start(t.Context(), server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", TestClock: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	w := visit(t, s.Data)
	ann := w.signsUp()
	do := func(key string, decide ledger.Decision) {
		t.Helper()
		_, err := s.Do(t.Context(), writer.Command{Key: key, Actor: events.System, Decide: decide})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	hold := func(id string, credits int64, d time.Duration) {
		t.Helper()
		do("test/"+id, func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
			return ledger.ReserveCredits(ledger.NewHold{
				Hold: id, User: ann.id, Credits: credits, Use: ledger.UseCalls, ExpiresAt: tx.Now.Add(d),
			})(tx)
		})
	}
	balance := func(available, held int64) {
		t.Helper()
		ann.get("/api/credits/balance").is(200).says("available", available, "held", held)
	}
	hold("h1", 4, time.Minute)
	hold("h2", 3, 2*time.Minute)
	balance(3, 7)
	do("test/capture", ledger.CaptureHold(ann.id, "h2", 1))
	balance(5, 4)
	w.advance(59 * time.Second)
	balance(5, 4)
	w.advance(time.Second)
	balance(9, 0)
	w.advance(time.Hour)
	balance(9, 0)

	giveForAWhile(t, s, ann.id)
	balance(29, 0)
	w.advance(24*time.Hour - time.Second)
	balance(29, 0)
	w.advance(time.Second)
	balance(9, 0)
	ann.get("/api/credits/history").is(200).says("data.0.type", "lot.expired", "data.0.credits", -20,
		"data.0.available_after", 9)
}

// giveForAWhile gives somebody 20 credits for a day.
func giveForAWhile(t *testing.T, s *server.Server, user string) {
	t.Helper()
	_, err := s.Do(t.Context(), writer.Command{Key: "test/lot", Actor: events.System,
		Decide: func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
			lot := events.Lot{ID: "lot_while", Kind: events.Paid, Credits: 20, Price: 2000, Currency: events.INR,
				Payment: "pi_while", ExpiresAt: tx.Now.Add(24 * time.Hour)}
			effect, err := ledger.Load(tx, ledger.Accounts, user).Grant(user, lot, tx.Now)
			return events.PaymentGranted{User: user, Intent: "pi_while", StripeEvent: "evt_while", StripeType: "test",
				Lot: lot, Available: effect.Available}, effect.Moves, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"testing"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/events"
	"truebond/events/jetstream"
)

func (p *person) calls(to *person) (call string) {
	p.w.t.Helper()
	return p.post("/api/calls/initiate", map[string]any{"to": to.id, "kind": "audio"}).is(201).
		says("call.state", "ringing", "call.charged", 0).get("call.id")
}

func (p *person) does(verb, call string) answer {
	p.w.t.Helper()
	return p.post("/api/calls/"+verb, map[string]any{"call_id": call})
}

func TestCallsThatDoNotComeAboutCostNothing(t *testing.T) {
	w := begin(t, embedded)
	ann, bob, cat := w.signsUp(), w.signsUp(), w.signsUp()
	t.Run("rejected", func(t *testing.T) {
		call := ann.calls(bob)
		ann.does("reject", call).is(403).says("code", "not_yours")
		bob.does("reject", call).is(200).says("call.state", "rejected", "call.seconds", 0)
		bob.does("reject", call).is(200).says("call.state", "rejected")
		bob.does("accept", call).is(409).says("code", "call_over")
		ann.does("end", call).is(200).says("call.state", "rejected")
	})
	t.Run("missed", func(t *testing.T) {
		call := ann.calls(bob)
		w.advance(44 * time.Second)
		ann.get("/api/calls/active").is(200).says("data.0.id", call, "data.0.state", "ringing")
		w.advance(time.Second)
		ann.get("/api/calls/active").is(200).says("data.0", "")
		ann.get("/api/calls/history").is(200).says("data.0.id", call, "data.0.state", "missed")
		bob.does("accept", call).is(409).says("code", "call_over")
	})
	t.Run("taken back by the caller", func(t *testing.T) {
		call := ann.calls(bob)
		ann.does("end", call).is(200).says("call.state", "missed")
		bob.does("accept", call).is(409)
	})
	t.Run("busy", func(t *testing.T) {
		call := ann.calls(bob)
		for _, pair := range [][2]*person{{cat, bob}, {cat, ann}, {ann, cat}, {bob, cat}} {
			pair[0].post("/api/calls/initiate", map[string]any{"to": pair[1].id, "kind": "video"}).is(409).
				says("code", "busy")
		}
		bob.does("reject", call).is(200)
		bob.does("reject", cat.calls(bob)).is(200)
	})
	ann.has(10)
	bob.has(10)
	cat.has(10)
}

func TestACallIsChargedByTheMinuteUntilSomebodyHangsUp(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	call := ann.calls(bob)
	bob.does("accept", call).is(200).says("call.state", "active", "call.charged", 5, "call.seconds", 0)
	bob.does("accept", call).is(200).says("call.state", "active", "call.charged", 5)
	bob.does("reject", call).is(409).says("code", "call_active")
	ann.does("heartbeat", call).is(200).says("call.state", "active")
	w.advance(30 * time.Second)
	ann.does("end", call).is(200).says("call.state", "ended", "call.seconds", 30, "call.charged", 5,
		"call.ended_by", ann.id, "call.end_reason", "hung_up")
	bob.does("end", call).is(200).says("call.state", "ended", "call.ended_by", ann.id)
	bob.does("heartbeat", call).is(200).says("call.state", "ended")
	w.advance(10 * time.Minute)
	ann.has(5)
	bob.has(10)
	bob.get("/api/calls/history").is(200).says("data.0.id", call, "data.0.charged", 5, "data.0.seconds", 30)
	ann.get("/api/credits/history").is(200).says("data.0.type", "call.accepted", "data.0.credits", -5)

	again := bob.calls(ann)
	ann.does("accept", again).is(200)
	w.advance(60 * time.Second) // the second minute begins
	ann.does("end", again).is(200).says("call.seconds", 60, "call.charged", 10)
	bob.has(0)
	bob.post("/api/calls/initiate", map[string]any{"to": ann.id, "kind": "audio"}).is(402).
		says("code", "insufficient_credits", "available", 0, "required", 5)
	ann.post("/api/calls/initiate", map[string]any{"to": bob.id, "kind": "video"}).is(402).says("required", 10)
}

func TestACallAskedForAgainIsTheFirstOne(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	rings := func() answer {
		return w.ask("POST", "/api/calls/initiate", ann.token, map[string]any{"to": bob.id, "kind": "audio"},
			"Idempotency-Key", "one").is(201)
	}
	replays := func(first, again answer) {
		t.Helper()
		position := first.header.Get("Ledger-Position")
		if position == "" || again.header.Get("Ledger-Position") != position ||
			again.header.Get("Idempotent-Replayed") != "true" || string(first.body) != string(again.body) {
			t.Errorf("the first answer is %s %v, the second %s %v", first.body, first.header, again.body, again.header)
		}
	}
	first := rings()
	replays(first, rings())
	call := first.get("call.id")
	replays(bob.does("accept", call).is(200), bob.does("accept", call).is(200))
	ann.has(5)
}

func TestBothMayHangUpAtTheSameTime(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	call := ann.calls(bob)
	bob.does("accept", call).is(200)
	answers := make(chan answer, 2)
	go func() { answers <- ann.does("end", call) }()
	go func() { answers <- bob.does("end", call) }()
	for range 2 {
		(<-answers).is(200).says("call.state", "ended")
	}
	w.ask("GET", "/api/admin/audit?type=call.ended", w.staff("admin"), nil).is(200).
		says("data.0.type", "call.ended", "data.1", "")
}

func TestACallEndsWhenAPartyIsGone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a party may be silent")
	}
	t.Parallel()
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	call := ann.calls(bob)
	bob.does("accept", call).is(200)
	active := func() bool { return ann.does("heartbeat", call).is(200).get("call.state") == "active" }
	for begun := time.Now(); active(); time.Sleep(time.Second) {
		if time.Since(begun) > time.Minute {
			t.Fatal("the call goes on, though nothing was heard of one party for a minute")
		}
	}
	ann.does("heartbeat", call).says("call.state", "ended", "call.end_reason", "party_gone",
		"call.ended_by", bob.id,
		"call.charged", 5, "call.seconds", 0) // the test clock stood still
	ann.has(5)
}

// A call's minute that comes due while the server is away is not charged.
func TestACallEndsUnchargedWhenTheServerWasAway(t *testing.T) {
	data := t.TempDir()
	o := server.Options{Data: data, Listen: "127.0.0.1:0", TestClock: true}
	var ann, bob *person
	var call string
	t.Run("a call goes on when the server stops", func(t *testing.T) {
		w := serveFrom(t, o)
		ann, bob = w.signsUp(), w.signsUp()
		call = ann.calls(bob)
		bob.does("accept", call).is(200)
	})
	t.Run("and 76 seconds pass", func(t *testing.T) { passes(t, data, 76*time.Second) })
	w := serveFrom(t, o)
	ann.w, bob.w = w, w
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		a := ann.get("/api/calls/history").is(200)
		if a.get("data.0.state") == "ended" {
			a.says("data.0.id", call, "data.0.end_reason", "server_away", "data.0.charged", 5, "data.0.seconds", 60)
			break
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("the call goes on: %s", a.body)
		}
	}
	ann.has(5)
	bob.does("end", call).is(200).says("call.end_reason", "server_away")
}

// passes lets time pass in the log of a server that is away: a test clock goes on from
// the last event.
func passes(t *testing.T, data string, d time.Duration) {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	log, err := jetstream.Open(t.Context(), jetstream.Options{Dir: data, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // what is in it is checked
	last, err := log.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := log.Read(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	e := events.Event{
		Position: last + 1, Key: "stripe/evt_later", Time: before.Time.Add(d), Effective: before.Time.Add(d),
		Actor: events.Actor{Kind: events.ActorStripe, ID: "evt_later"},
		Data: events.StripeEventNoted{StripeEvent: "evt_later", StripeType: "test", Object: "pi_none",
			Why: "a test"},
	}
	body, err := codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(t.Context(), last, []events.Record{{Event: e, Body: body}}); err != nil {
		t.Fatal(err)
	}
}

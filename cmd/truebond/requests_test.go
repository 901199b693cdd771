package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"truebond/commands/stripe"
)

// A request is something asked for under a key, once or several times.
type request struct {
	id, path, body string
	bearer         string  // empty: a webhook, which is signed
	who            *person // who is charged; nil if it is no charge, or of many
}

// paymentOf is Stripe's event that an intent was paid.
func paymentOf(t testing.TB, event, intent string, amount int64) request {
	body, err := stripe.PaidEvent(event, succeeded, intent, amount, "INR", time.Now())
	if err != nil {
		t.Error(err)
	}
	return request{id: event, path: "/api/webhooks/stripe", body: string(body)}
}

// key is what the request's event has as its key, or as the end of it.
func (r request) key() string {
	if r.bearer == "" {
		return "stripe/" + r.id
	}
	return r.id
}

// send sends the request.
func (r request) send(client *nethttp.Client, url, secret string) (*nethttp.Response, []byte, error) {
	sent, err := nethttp.NewRequest(nethttp.MethodPost, url+r.path, strings.NewReader(r.body))
	if err != nil {
		return nil, nil, err
	}
	sent.GetBody = nil // or Go's client tries again by itself, seeing an Idempotency-Key
	sent.Header.Set("Content-Type", "application/json")
	if r.bearer == "" {
		sent.Header.Set("Stripe-Signature", stripe.Sign([]byte(r.body), secret, time.Now()))
	} else {
		sent.Header.Set("Authorization", "Bearer "+r.bearer)
		sent.Header.Set("Idempotency-Key", r.id)
	}
	answer, err := client.Do(sent)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	return answer, said, err
}

// pick is what a caller asks for next.
func (l *load) pick(caller int) request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.next); n > 0 && rand.IntN(2) == 0 { // what is refused for now keeps nobody from the rest
		r := l.next[0]
		l.next = l.next[1:]
		return r
	}
	if len(l.keys) > 0 && rand.IntN(replayOneIn) == 0 {
		if r := l.acked[l.keys[rand.IntN(len(l.keys))]].request; r.path != bulkPath {
			return r
		}
	}
	l.asked++
	id := fmt.Sprintf("load-%d", l.asked)
	someone := l.people[rand.IntN(len(l.people))]
	switch (caller + l.asked) % 8 {
	case 1, 5:
		to := l.people[rand.IntN(len(l.people))]
		for to == someone {
			to = l.people[rand.IntN(len(l.people))]
		}
		return request{id, "/api/v2/messages/send", fmt.Sprintf(`{"to":%q,"body":"hello"}`, to.id), someone.token, someone}
	case 2:
		return paymentOf(l.t, "evt_"+id, "pi_none", 100)
	case 3:
		return request{id, bulkPath, l.bulk(id), l.key, nil}
	case 6:
		return request{id, "/api/credits/purchase", `{"package":"xlarge"}`, someone.token, nil}
	}
	return request{id, "/api/credits/deduct", fmt.Sprintf(`{"user_id":%q,"credits":1,"reason":"load"}`, someone.id), l.key, someone}
}

const bulkPath = "/api/credits/deduct/bulk"

// bulk asks for a charge of each person, all in one call.
func (l *load) bulk(id string) string {
	var items []string
	for i, p := range l.people {
		items = append(items, fmt.Sprintf(`{"idempotency_key":"%s-%d","user_id":%q,"credits":1,"reason":"load"}`, id, i, p.id))
	}
	return `{"items":[` + strings.Join(items, ",") + `]}`
}

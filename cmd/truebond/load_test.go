package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	nethttp "net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"truebond/commands/stripe"
)

// A load asks for things until it has had enough or its server dies, and remembers what
// was promised. Charges and messages, purchases and their payments, notes of Stripe's; and
// now and then what was answered before.
type load struct {
	t      testing.TB
	key    string // of the app that charges
	people []*person
	secret string // of the webhooks

	mu     sync.Mutex
	enough bool
	dark   bool // the power is cut: answers from now on do not count
	asked  int
	acked  map[string]promise // by the event's key
	keys   []string           // of acked
	next   []request          // what nobody knows the outcome of, and what follows from an answer
	odd    []string           // answers that nobody should get
}

// A request is something asked for under a key, once or several times.
type request struct {
	id, path, body string
	bearer         string // empty: a webhook, which is signed
}

// A promise is what an answer said.
type promise struct {
	request  request
	position uint64
	left     string // available afterwards, where the answer says
}

const (
	patience     = 35 * time.Second // longer than a server works on an answer
	replayOneIn  = 50
	oddMax       = 20                    // of those that are kept
	pauseRefused = 20 * time.Millisecond // before the next request, for who was sent away
)

// run asks from several callers until they have had enough or have lost the server.
func (l *load) run(url string, callers int) *sync.WaitGroup {
	l.mu.Lock()
	l.enough, l.dark = false, false
	l.mu.Unlock()
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			client := &nethttp.Client{Transport: &nethttp.Transport{}, Timeout: patience}
			defer client.CloseIdleConnections()
			for !l.hasEnough() && l.one(client, url, caller) {
			}
		})
	}
	return &all
}

func (l *load) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enough = true
}

// powerless lets no answer count from now on. A machine without power gives none; here it
// runs on for a moment, in which an fsync that is under way may still return with success
// (a loop of write and fsync alone shows that in one cut of a hundred).
func (l *load) powerless() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark = true
}

func (l *load) isDark() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dark
}

func (l *load) hasEnough() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enough
}

// promised is how many commands were acknowledged.
func (l *load) promised() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
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
		return request{id, "/api/v2/messages/send", fmt.Sprintf(`{"to":%q,"body":"hello"}`, to.id), someone.token}
	case 2:
		return paymentOf(l.t, "evt_"+id, "pi_none", 100)
	case 3:
		return request{id, bulkPath, l.bulk(id), l.key}
	case 6:
		return request{id, "/api/credits/purchase", `{"package":"xlarge"}`, someone.token}
	}
	return request{id, "/api/credits/deduct", fmt.Sprintf(`{"user_id":%q,"credits":1,"reason":"load"}`, someone.id), l.key}
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

// rememberAll notes what was promised of the charges of a call.
func (l *load) rememberAll(r request, said []byte) {
	var all struct {
		Results []struct {
			Status    int
			Position  uint64
			Available int64
		}
	}
	if err := json.Unmarshal(said, &all); err != nil || len(all.Results) != len(l.people) {
		l.notice("read %q: %v", said, err)
		return
	}
	for i, result := range all.Results {
		if result.Status != nethttp.StatusCreated {
			continue
		}
		one := r
		one.id = fmt.Sprintf("%s-%d", r.id, i)
		p := promise{one, result.Position, strconv.FormatInt(result.Available, 10)}
		if before := l.keep(p); before.position != p.position || before.left != p.left {
			l.notice("%s was promised as %+v, and then as %+v", one.id, before, p)
		}
	}
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

// one asks for one thing. It is false when the server is gone.
func (l *load) one(client *nethttp.Client, url string, caller int) bool {
	r := l.pick(caller)
	answer, said, err := r.send(client, url, l.secret)
	switch {
	case err != nil, l.isDark():
		l.askAgain(r)
		return false
	case answer.StatusCode/100 == 2 && r.path == bulkPath:
		l.rememberAll(r, said)
	case answer.StatusCode/100 == 2:
		l.remember(r, answer, said)
	case answer.StatusCode == nethttp.StatusServiceUnavailable, answer.StatusCode == nethttp.StatusConflict:
		l.askAgain(r)
		time.Sleep(pauseRefused)
	case answer.StatusCode == nethttp.StatusTooManyRequests, answer.StatusCode == nethttp.StatusPaymentRequired:
		if l.known(r) {
			l.notice("%s was acknowledged, and is answered with %d now: %s", r.id, answer.StatusCode, said)
		}
	default:
		l.notice("%s was answered with %d: %s", r.path, answer.StatusCode, said)
	}
	return true
}

func (l *load) askAgain(r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = append(l.next, r)
}

// known tells whether a charge was acknowledged. A message may be refused by its limit
// before its key is looked at.
func (l *load) known(r request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.acked[r.key()]
	return known && r.bearer == l.key
}

func (l *load) notice(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.odd) < oddMax {
		l.odd = append(l.odd, fmt.Sprintf(format, args...))
	}
}

// remember notes what was promised, and holds it against what was promised before.
func (l *load) remember(r request, answer *nethttp.Response, said []byte) {
	position, err := strconv.ParseUint(answer.Header.Get("Ledger-Position"), 10, 64)
	if err != nil {
		l.notice("the answer to %s has no position: %v", r.path, answer.Header)
	}
	var members struct {
		Available *int64 `json:"available"`
		Intent    string `json:"intent_id"`
		Amount    int64  `json:"amount"`
	}
	if err := json.Unmarshal(said, &members); err != nil {
		l.notice("read %q: %v", said, err)
	}
	p := promise{request: r, position: position}
	if members.Available != nil {
		p.left = strconv.FormatInt(*members.Available, 10)
	}
	if before := l.keep(p); before.position != p.position || before.left != p.left {
		l.notice("%s was promised as %+v, and then as %+v", r.id, before, p)
	}
	if members.Intent != "" {
		l.askAgain(paymentOf(l.t, "evt_"+r.id, members.Intent, members.Amount))
	}
}

// keep keeps the first promise of a key, and gives it.
func (l *load) keep(p promise) promise {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := p.request.key()
	if before, ok := l.acked[key]; ok {
		return before
	}
	l.acked[key] = p
	l.keys = append(l.keys, key)
	return p
}

// prepareLoad makes people with credits, on a server that then stops in good order.
func prepareLoad(t *testing.T, data string) *load {
	t.Helper()
	l := &load{t: t, acked: map[string]promise{}}
	t.Run("prepare", func(t *testing.T) {
		l.prepare(serveFrom(t, options{data: data, listen: "127.0.0.1:0"}), 4)
	})
	return l
}

// prepare makes an app that charges, and people with credits.
func (l *load) prepare(w *world, people int) {
	l.secret = w.secret
	l.key = w.operate("/api/operator/api-keys", map[string]any{"name": "load", "scopes": []string{"credits:deduct"}}).
		is(201).get("key")
	for range people {
		p := w.signsUp()
		for range 5 {
			intent := p.post("/api/payments/intent/create", map[string]any{"package": "xlarge"}).is(201).get("intent_id")
			p.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
		}
		l.people = append(l.people, p)
	}
}

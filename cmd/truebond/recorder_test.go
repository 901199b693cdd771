package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	nethttp "net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"truebond/cmd/truebond/server"
	"truebond/events/jetstream/natstest"
	"truebond/events/porttest"
)

const (
	historyTime    = 4 * time.Second
	historyCallers = 8
	historyUsers   = 4
	smallCredits   = 50   // of the package that is bought
	smallPrice     = 5000 // the same in minor units
	purchases      = 10   // of each user
)

// A recorder is callers who ask a server to which bad things happen.
type recorder struct {
	t      *testing.T
	begun  time.Time
	client *nethttp.Client
	url    string // by way of the proxy
	load   *load
	up     atomic.Bool
	newest atomic.Uint64 // position that anybody was told

	mu      sync.Mutex
	made    int
	deeds   []deed // commands that were asked for
	pays    []deed // payments to come; each is announced by two events of Stripe's
	history []porcupine.Operation
}

// recordHistory lets callers and faults at a new server, and gives what was asked and
// answered.
func recordHistory(t *testing.T) []porcupine.Operation {
	t.Helper()
	address, err := porttest.One()
	if err != nil {
		t.Fatal(err)
	}
	o := server.Options{Data: t.TempDir(), Listen: address}
	server, err := launch(t, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	proxy := natstest.NewProxy(t, server.url)
	r := &recorder{t: t, begun: time.Now(), url: "http://" + proxy.Addr(), load: newLoad(t),
		client: &nethttp.Client{Transport: &nethttp.Transport{MaxIdleConnsPerHost: historyCallers}}}
	t.Cleanup(r.client.CloseIdleConnections)
	r.prepare(visit(t, o.Data))
	r.up.Store(true)
	r.begin()

	r.client.Timeout = time.Second // from now on answers get lost
	end := time.Now().Add(historyTime)
	var callers sync.WaitGroup
	for caller := range historyCallers {
		callers.Go(func() {
			for time.Now().Before(end) {
				r.act(caller)
				time.Sleep(rand.N(20 * time.Millisecond))
			}
		})
	}
	for n := 0; time.Now().Before(end); n++ {
		time.Sleep(200*time.Millisecond + rand.N(500*time.Millisecond))
		switch n % 3 {
		case 0: // what is under way is cut off
			proxy.Cut()
		case 1: // the server does what it is asked for, and nobody hears of it
			proxy.LoseAnswers()
			time.Sleep(rand.N(100 * time.Millisecond))
			proxy.Heal()
		case 2:
			r.up.Store(false)
			server.kill()
			if server, err = launch(t, o, nil); err != nil {
				t.Fatal(err)
			}
			r.up.Store(true)
		}
	}
	callers.Wait()
	return r.history
}

// prepare makes people, and payments to come for them.
func (r *recorder) prepare(w *world) {
	r.load.secret = w.secret
	r.load.key = w.operate("/api/operator/api-keys", map[string]any{"name": "history",
		"scopes": []string{"credits:deduct"}}).is(201).get("key")
	for range historyUsers {
		p := w.signsUp()
		r.load.people = append(r.load.people, p)
		for range purchases {
			intent := p.post("/api/credits/purchase", map[string]any{"package": "small"}).is(201).get("intent_id")
			for _, event := range []string{"evt_a", "evt_b"} {
				r.pays = append(r.pays, deed{user: p.id, what: grants, key: event + intent, intent: intent, credits: smallCredits})
			}
		}
	}
	rand.Shuffle(len(r.pays), func(i, j int) { r.pays[i], r.pays[j] = r.pays[j], r.pays[i] })
}

// begin does one of each, one after the other: on a busy machine, too, a history has them.
func (r *recorder) begin() {
	for _, p := range r.load.people {
		charge := deed{user: p.id, what: spends, key: "first-" + p.id, credits: 1}
		for _, d := range []deed{charge, charge, {user: p.id, what: reads}, charge} {
			if !r.do(0, d) {
				r.t.Errorf("nothing is known of %+v, though nothing has gone wrong", d)
			}
		}
	}
}

// act does one thing, and mostly tries again when it does not hear what came of it.
func (r *recorder) act(caller int) {
	const givesUpOneIn = 4
	for d := r.choose(); ; {
		known := r.do(caller, d)
		for !r.up.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		if known || rand.IntN(givesUpOneIn) == 0 {
			return
		}
	}
}

// choose is what a caller does next.
func (r *recorder) choose() deed {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	d := deed{user: r.load.people[rand.IntN(historyUsers)].id, what: spends, key: fmt.Sprintf("deed-%d", r.made)}
	switch dice := rand.IntN(100); {
	case dice < 20:
		return deed{user: d.user, what: reads}
	case dice < 35 && len(r.deeds) > 0:
		return r.deeds[rand.IntN(len(r.deeds))]
	case dice < 45 && len(r.pays) > 0:
		d, r.pays = r.pays[0], r.pays[1:]
	case dice < 55:
		d.key, d.credits = "message-"+d.key, 1
	default:
		d.credits = 1 + rand.Int64N(4)
	}
	r.deeds = append(r.deeds, d)
	return d
}

// do asks for a deed and records it. It is false when the outcome is not known.
func (r *recorder) do(caller int, d deed) bool {
	newest := r.newest.Load()
	o := porcupine.Operation{ClientId: caller, Input: d, Call: int64(time.Since(r.begun))}
	out, counts := r.ask(d, newest)
	o.Output, o.Return = out, int64(time.Since(r.begun))
	if out.unknown {
		o.Return = math.MaxInt64
	}
	for before := r.newest.Load(); before < out.position && !r.newest.CompareAndSwap(before, out.position); {
		before = r.newest.Load()
	}
	if counts && (!out.unknown || d.what != reads) { // nothing follows from a read without an answer
		r.mu.Lock()
		defer r.mu.Unlock()
		r.history = append(r.history, o)
	}
	return !out.unknown
}

// ask tells what came of a deed, and whether that counts: what was turned away at the
// door did nothing.
func (r *recorder) ask(d deed, newest uint64) (out outcome, counts bool) {
	person := r.load.people[slices.IndexFunc(r.load.people, func(p *person) bool { return p.id == d.user })]
	var status int
	var header nethttp.Header
	var said []byte
	if d.what == reads {
		status, header, said = r.read(person, newest)
	} else {
		answer, body, err := r.requestOf(d, person).send(r.client, r.url, r.load.secret)
		if err == nil {
			status, header, said = answer.StatusCode, answer.Header, body
		}
	}
	var members struct {
		Available, Position int64
	}
	if status/100 == 2 || status == nethttp.StatusPaymentRequired {
		if err := json.Unmarshal(said, &members); err != nil {
			r.t.Errorf("read %q: %v", said, err)
		}
	}
	out.available, out.position = members.Available, uint64(members.Position)
	switch status {
	case 200, 201:
		if d.what != reads {
			if _, err := fmt.Sscan(header.Get("Ledger-Position"), &out.position); err != nil {
				r.t.Errorf("an answer has no position: %v", header)
			}
		}
		out.replayed = header.Get("Idempotent-Replayed") == "true"
		return out, true
	case nethttp.StatusPaymentRequired:
		return outcome{refused: true, available: members.Available}, true
	case nethttp.StatusTooManyRequests, nethttp.StatusConflict:
		return out, false
	case 0, nethttp.StatusServiceUnavailable:
		return outcome{unknown: true}, true
	}
	r.t.Errorf("%+v was answered with %d: %s", d, status, said)
	return out, false
}

// read reads a balance. Half of the readers name the newest position that anybody knows
// of; the others rely on the server's knowing it.
func (r *recorder) read(p *person, newest uint64) (status int, header nethttp.Header, said []byte) {
	request, err := nethttp.NewRequest(nethttp.MethodGet, r.url+"/api/credits/balance", nil)
	if err != nil {
		r.t.Error(err)
		return 0, nil, nil
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	if rand.IntN(2) == 0 {
		request.Header.Set("Ledger-Position", fmt.Sprint(newest))
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer answer.Body.Close()
	if said, err = io.ReadAll(answer.Body); err != nil {
		return 0, nil, nil
	}
	return answer.StatusCode, answer.Header, said
}

func (r *recorder) requestOf(d deed, p *person) request {
	if d.what == grants {
		return paymentOf(r.t, d.key, d.intent, smallPrice)
	}
	if d.key[:4] == "mess" {
		to := r.load.people[0]
		if to == p {
			to = r.load.people[1]
		}
		return request{d.key, "/api/v2/messages/send", fmt.Sprintf(`{"to":%q,"body":"hello"}`, to.id), p.token, p}
	}
	return request{d.key, "/api/credits/deduct",
		fmt.Sprintf(`{"user_id":%q,"credits":%d,"reason":"history"}`, d.user, d.credits), r.load.key, p}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/commands/stripe"
	"truebond/events/jetstream/natstest"
	"truebond/projections/storetest"
)

// A world is a server as its users meet it: an address, and what an operator can do.
type world struct {
	t      testing.TB
	url    string
	secret string // of its webhooks
	socket *nethttp.Client
	people atomic.Int64
	keys   atomic.Int64
}

// surroundings are where a server finds its log, store and Redis.
type surroundings struct {
	name string
	set  func(t *testing.T) (nats string)
}

// everywhere is each kind of surroundings that the product promises to be the same in.
var everywhere = []surroundings{
	{"embedded", func(*testing.T) string { return "" }},
	{"MongoDB, Redis and three NATS servers", func(t *testing.T) string {
		t.Setenv("MONGO_URL", storetest.Mongo(t))
		t.Setenv("REDIS_URL", "redis://"+storetest.Redis(t))
		url, _ := natstest.Cluster(t)
		return url
	}},
}

// begin starts a server with a test clock on an empty data folder, for as long as the
// test takes.
func begin(t *testing.T, where surroundings) *world {
	t.Helper()
	nats := where.set(t)
	return serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", NATS: nats, Replicas: 3, TestClock: true})
}

func serveFrom(t *testing.T, o server.Options) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := server.Start(ctx, o)
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("the server does not stop in good order: %v", err)
		}
	})
	w := visit(t, o.Data)
	t.Cleanup(func() { // a server that stops waits a while for who keeps a connection
		nethttp.DefaultClient.CloseIdleConnections()
		w.socket.CloseIdleConnections()
	})
	return w
}

// visit is the world of the server that runs on a data folder.
func visit(t testing.TB, data string) *world {
	t.Helper()
	secret, err := datafolder.Folder{Path: data}.ReadSecret(datafolder.WebhookSecretFile)
	if err != nil {
		t.Fatal(err)
	}
	note, err := datafolder.Folder{Path: data}.ReadNote()
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, url: note.URL, secret: secret, socket: socketClient(note.Socket)}
}

// socketClient talks over an operator's socket.
func socketClient(path string) *nethttp.Client {
	return &nethttp.Client{Transport: &nethttp.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

// An answer is what the server said.
type answer struct {
	t       testing.TB
	asked   string
	status  int
	header  nethttp.Header
	body    []byte
	members map[string]any
}

// ask sends a request; headers are pairs of name and value.
func (w *world) ask(method, path, token string, body any, headers ...string) answer {
	w.t.Helper()
	return w.askOn(nethttp.DefaultClient, w.url, method, path, token, body, headers...)
}

func (w *world) askOn(client *nethttp.Client, base, method, path, token string, body any, headers ...string) answer {
	w.t.Helper()
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	request, err := nethttp.NewRequest(method, base+path, content)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	said, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := answerOf(w.t, response, said)
	a.asked = method + " " + path
	return a
}

func answerOf(t testing.TB, response *nethttp.Response, said []byte) answer {
	a := answer{t: t, status: response.StatusCode, header: response.Header, body: said}
	decoder := json.NewDecoder(bytes.NewReader(said))
	decoder.UseNumber()
	_ = decoder.Decode(&a.members) // what is not an object has no members
	return a
}

// operate asks over the operator's socket.
func (w *world) operate(path string, body any) answer {
	w.t.Helper()
	return w.askOn(w.socket, "http://operator", nethttp.MethodPost, path, "", body)
}

// is demands a status.
func (a answer) is(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s answered %d, want %d: %s", a.asked, a.status, status, a.body)
	}
	return a
}

// says demands members of the answer, given as pairs of a dotted path and a value.
func (a answer) says(pairs ...any) answer {
	a.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		got, want := a.get(pairs[i].(string)), fmt.Sprint(pairs[i+1])
		if got != want {
			a.t.Fatalf("%s answered %s = %q, want %q: %s", a.asked, pairs[i], got, want, a.body)
		}
	}
	return a
}

// get is a member of the answer as text; empty if there is none. A path's parts are
// member names, or indexes of a list.
func (a answer) get(path string) string {
	var at any = a.members
	for _, part := range strings.Split(path, ".") {
		switch in := at.(type) {
		case map[string]any:
			at = in[part]
		case []any:
			var n int
			if _, err := fmt.Sscan(part, &n); err != nil || n >= len(in) {
				return ""
			}
			at = in[n]
		default:
			return ""
		}
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

// A person uses the app.
type person struct {
	w                *world
	id, email, token string
	refresh          string
}

const password = "correct horse battery staple"

// signsUp is somebody new.
func (w *world) signsUp() *person {
	w.t.Helper()
	return w.signsUpAs(fmt.Sprintf("person%d@example.com", w.people.Add(1)))
}

func (w *world) signsUpAs(email string) *person {
	w.t.Helper()
	a := w.ask("POST", "/api/auth/signup", "", map[string]any{
		"email": email, "password": password, "name": "Some Body", "birth_date": "1990-02-28",
	}).is(201)
	return &person{w: w, id: a.get("user.id"), email: email, token: a.get("access_token"), refresh: a.get("refresh_token")}
}

func (p *person) get(path string) answer {
	p.w.t.Helper()
	return p.w.ask("GET", path, p.token, nil)
}

// post sends a command with an idempotency key of its own.
func (p *person) post(path string, body any) answer {
	p.w.t.Helper()
	return p.w.ask("POST", path, p.token, body, "Idempotency-Key", fmt.Sprintf("key-%d", p.w.keys.Add(1)))
}

// has demands what a person may spend.
func (p *person) has(credits int64) {
	p.w.t.Helper()
	p.get("/api/credits/balance").is(200).says("available", credits)
}

// webhook sends a signed webhook.
func (w *world) webhook(body []byte) answer {
	w.t.Helper()
	return w.ask("POST", "/api/webhooks/stripe", "", body, "Stripe-Signature", stripe.Sign(body, w.secret, time.Now()))
}

// paid is Stripe's event that an intent was paid.
func (w *world) paid(event string, kind stripego.EventType, intent string, amount int64) []byte {
	w.t.Helper()
	body, err := stripe.PaidEvent(event, kind, intent, amount, "INR", time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return body
}

// advance moves the test clock.
func (w *world) advance(d time.Duration) {
	w.t.Helper()
	w.ask("POST", "/api/test-clock/advance", "", map[string]any{"seconds": int64(d / time.Second)}).is(200)
}

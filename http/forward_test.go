package http

import (
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"truebond/commands"
	"truebond/commands/stripe"
	"truebond/ledger"
	"truebond/queries"
)

// A pair is two servers of which the second serves the first one's commands.
type pair struct {
	*bench
	leader *bench
	cut    error // instead of an answer
	half   error // in place of its end
	leads  bool
	passed int
}

func (p *pair) Leads() bool { return p.leads }

func (p *pair) Pass(ctx context.Context, request []byte, part func([]byte) error) (bool, error) {
	p.passed++
	if p.cut != nil {
		return false, p.cut
	}
	last, err := p.leader.server.ServeForwarded(ctx, request, part)
	if err != nil {
		return false, err
	}
	if p.half != nil {
		return false, errors.Join(part(last), p.half)
	}
	return false, part(last)
}

// Leader of a leader: it must never be asked.
type nobody struct{ t *testing.T }

func (nobody) Leads() bool { return false }

func (n nobody) Pass(context.Context, []byte, func([]byte) error) (bool, error) {
	n.t.Error("a request was sent on twice")
	return false, ledger.Refuse("no_leader", "There is none.")
}

func pairServing(t *testing.T, routes []Route) *pair {
	t.Helper()
	p := &pair{leader: serving(t, routes, func(c *Config) { c.Cluster = nobody{t} })}
	p.bench = serving(t, routes, func(c *Config) { c.Cluster = p })
	return p
}

func TestACommandIsServedByTheLeaderAsIfItHadComeThere(t *testing.T) {
	p := pairServing(t, []Route{
		post("/who", whoAsks, "Ask who asks", user),
		post("/write", writeNote, "Write", user, created, once),
		get("/who", whoAsks, "Ask who asks", user),
		post("/operate", whoAsks, "Ask who operates", operator),
	})
	access := p.leader.as("usr_1", ledger.RoleUser)
	p.sessions.start("ses_usr_1", "usr_1", ledger.RoleUser)

	got := p.send("POST", "/who", "", "Authorization", access, "X-Request-Id", "mine", "Idempotency-Key", "k")
	got.wants(t, 200, "")
	for name, want := range map[string]string{
		"actor": "user/usr_1", "address": "127.0.0.1", "request_id": "mine", "key": "k", "session": "ses_usr_1",
	} {
		if is := got.json(t)[name]; is != want {
			t.Errorf("%s is %v, not %s", name, is, want)
		}
	}
	if got.header.Get("X-Request-Id") != "mine" || got.header.Get("X-Content-Type-Options") == "" {
		t.Errorf("the headers are %v", got.header)
	}
	got = p.send("POST", "/write", `{"to":"a","text":"b"}`, "Authorization", access, "Idempotency-Key", "k2")
	got.wants(t, 201, "")
	if got.header.Get("Ledger-Position") != "7" {
		t.Errorf("the position is %q", got.header.Get("Ledger-Position"))
	}
	p.leader.views.move(7)
	// What the leader refuses is refused here, in its words.
	p.send("POST", "/write", `{"to":"a","text":"b"}`, "Authorization", access).wants(t, 400, "idempotency_key_required")
	p.send("POST", "/write", `{"to":1}`, "Authorization", access, "Idempotency-Key", "k3").wants(t, 400, "invalid_fields")
	p.send("POST", "/write", `x`, "Authorization", access, "Idempotency-Key", "k3", "Content-Type", "text/plain").
		wants(t, 415, "unsupported_media_type")
	p.send("POST", "/write", strings.Repeat("x", bodyMax+1), "Authorization", access).wants(t, 413, "body_too_large")
	p.send("POST", "/who", "").wants(t, 401, "unauthorized")
	p.send("POST", "/operate", "", "Authorization", access).wants(t, 403, "forbidden")

	before := p.passed
	p.send("GET", "/who", "", "Authorization", access).wants(t, 200, "")
	if p.passed != before {
		t.Error("a read was passed on")
	}
}

func TestTheLeaderReadsAURLAsTheServerDoesThatItCameTo(t *testing.T) {
	p := pairServing(t, []Route{post("/who", whoAsks, "Ask who asks", public)})
	for _, query := range []string{"#x", "#%zz", "a=1#b"} {
		req, err := nethttp.NewRequest("POST", p.base, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "/who?" + query // else it is not sent
		res, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("?%s is answered %d", query, res.StatusCode)
		}
	}
}

func TestAnOperatorsSocketIsOneAtEveryServer(t *testing.T) {
	p := pairServing(t, []Route{post("/operate", whoAsks, "Ask who operates", operator)})
	path := t.TempDir() + "/s"
	p.listen(p.server.ServeOperator, listening(t, "unix", path))
	socket := &nethttp.Client{Transport: &nethttp.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	defer socket.CloseIdleConnections()
	got := p.sendTo(socket, "http://operator", "POST", "/operate", "")
	got.wants(t, 200, "")
	if actor := got.json(t)["actor"]; actor != "operator" && actor != "operator/" {
		t.Errorf("the actor is %v", actor)
	}
}

// Anybody may send webhooks, without a limit.
func TestAWebhookThatIsNotStripesIsNoWorkOfTheLeaders(t *testing.T) {
	verify := func(body []byte, signature string) (said ledger.Announcement, err error) {
		if signature != "of "+string(body) {
			err = stripe.ErrSignature
		}
		return said, err
	}
	do := commands.NewService(commands.Parts{VerifyWebhook: verify})
	p := pairServing(t, paymentRoutes(do, &queries.Service{}))
	p.cut = ledger.Refuse("no_leader", "It was passed on.")
	send := func(signature string) answer {
		return p.send("POST", "/api/webhooks/stripe", `{}`, "Stripe-Signature", signature)
	}
	send("of {}").wants(t, 503, "no_leader")
	for _, forged := range []string{"", "of []"} {
		send(forged).wants(t, 400, "webhook_signature")
		if p.passed != 1 {
			t.Fatalf("%q was passed on", forged)
		}
	}
}

func TestWithoutAnAnswerOfTheLeaderNobodyIsToldOne(t *testing.T) {
	p := pairServing(t, []Route{post("/who", whoAsks, "Ask who asks", public)})
	for _, code := range []string{"no_leader", "no_answer"} {
		p.cut = ledger.Refuse(code, "Nobody knows.")
		got := p.send("POST", "/who", "")
		got.wants(t, 503, code)
		if got.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	}
	p.leads = true
	p.send("POST", "/who", "").wants(t, 200, "")
}

// A stream's lines come one by one, and an answer may be larger than one part.
func TestALongAnswerComesInParts(t *testing.T) {
	long := strings.Repeat("0123456789", forwardedPartMax/10)
	p := pairServing(t, []Route{
		post("/lines", func(ctx context.Context, _ nothing) (stream, error) {
			return stream{ctx, func(_ context.Context, write func(any) error) error {
				for i := range 3 {
					if err := write(map[string]int{"line": i}); err != nil {
						return err
					}
				}
				return nil
			}}, nil
		}, "Stream", public),
		post("/long", func(context.Context, nothing) (map[string]string, error) {
			return map[string]string{"text": long}, nil
		}, "Say a lot", public),
	})
	if got := p.send("POST", "/lines", ""); string(got.body) != "{\"line\":0}\n{\"line\":1}\n{\"line\":2}\n" {
		t.Errorf("the lines are %q", got.body)
	}
	if got := p.send("POST", "/long", ""); got.json(t)["text"] != long {
		t.Errorf("%d bytes came", len(got.body))
	}
}

// What has come of it looks whole: a client would take half of a stream, or of a list, for all of it.
func TestAnAnswerThatTheLeaderDoesNotEndIsSeenToBeBroken(t *testing.T) {
	p := pairServing(t, []Route{post("/who", whoAsks, "Ask who asks", public)})
	p.half = ledger.Refuse("no_answer", "The leader was killed.")
	res, err := p.client.Post(p.base+"/who", "", nil)
	if err == nil {
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
	}
	if err == nil {
		t.Error("it is taken for all of the answer")
	}
}

// A body larger than most is not taken, and not sent on, before it is known that its sender may
// ask at all: else anybody could fill a follower's memory, and the leader's.
func TestALongBodyIsNotTakenFromJustAnybody(t *testing.T) {
	p := pairServing(t, []Route{
		post("/long", writeNote, "Write at length", app("write"), keyless, bodyUpTo(bulkBodyMax)),
	})
	p.keys[commands.APIKeyPrefix+"writes"], p.keys[commands.APIKeyPrefix+"reads"] = []string{"write"}, []string{"read"}
	p.leader.keys[commands.APIKeyPrefix+"writes"] = []string{"write"}
	long := `{"to":"a","text":"b"` + strings.Repeat(" ", bodyMax) + `}`
	for code, headers := range map[string][]string{
		"unauthorized":  nil,
		"invalid_token": {headerAPIKey, commands.APIKeyPrefix + "unknown"},
		"forbidden":     {headerAPIKey, commands.APIKeyPrefix + "reads"},
	} {
		asked := &countingReader{of: strings.NewReader(long)}
		req := httptest.NewRequest("POST", "/long", asked)
		req.Header.Set("Content-Type", jsonType)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		answered := httptest.NewRecorder()
		p.server.Handler().ServeHTTP(answered, req)
		if !strings.Contains(answered.Body.String(), code) {
			t.Errorf("it is answered with %d and not %s: %s", answered.Code, code, answered.Body)
		}
		if asked.read > 0 || p.passed > 0 {
			t.Errorf("%s: %d bytes were read, %d requests sent on", code, asked.read, p.passed)
		}
	}
	p.send("POST", "/long", long, headerAPIKey, commands.APIKeyPrefix+"writes").wants(t, 200, "")
	// Where nothing can be looked up, the leader may still know who asks.
	p.server.cfg.APIKeys = broken{}
	p.send("POST", "/long", long, headerAPIKey, commands.APIKeyPrefix+"writes").wants(t, 200, "")
	if p.passed != 2 {
		t.Errorf("%d requests were sent on", p.passed)
	}
}

type countingReader struct {
	of   *strings.Reader
	read int
}

func (c *countingReader) Read(into []byte) (int, error) {
	n, err := c.of.Read(into)
	c.read += n
	return n, err
}

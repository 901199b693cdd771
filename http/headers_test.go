package http

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

func headerRoutes() []Route {
	return []Route{get("/x", whoAsks, "Read", user), post("/x", writeNote, "Write", public)}
}

func TestEveryAnswerTellsBrowsersToBeCareful(t *testing.T) {
	b := serving(t, headerRoutes())
	for _, c := range [][2]string{{"GET", "/x"}, {"POST", "/x"}, {"GET", "/nothing"}, {"PUT", "/x"}, {"GET", "/livez"},
		{"GET", "/docs"}, {"GET", "/openapi.json"}} {
		a := b.send(c[0], c[1], "")
		for name, want := range map[string]string{
			"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
			"Content-Security-Policy":   "frame-ancestors 'none'",
			"X-Content-Type-Options":    "nosniff",
			"Referrer-Policy":           "no-referrer",
			"Cache-Control":             "no-store",
			"X-Frame-Options":           "DENY",
			"X-Request-Id":              "",
		} {
			if got := a.header.Values(name); len(got) != 1 || !strings.Contains(got[0], want) {
				t.Errorf("%s %s: %s is %q", c[0], c[1], name, got)
			}
		}
		if csp := a.header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") ||
			!strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s %s: the policy is %q", c[0], c[1], csp)
		}
		if a.header.Get("Server") != "" || a.header.Get("X-Powered-By") != "" {
			t.Errorf("%s %s says what it runs on", c[0], c[1])
		}
	}
}

func TestOnlyTheFrontEndsPagesMayRead(t *testing.T) {
	b := serving(t, headerRoutes(), func(cfg *Config) { cfg.Frontend = "https://app.example/, http://localhost:3000" })
	for origin, may := range map[string]bool{
		"https://app.example": true, "http://localhost:3000": true, "https://app.example.evil.example": false,
		"http://app.example": false, "https://evil.example": false, "null": false, "https://app.example:444": false,
		"HTTPS://APP.EXAMPLE": false, "*": false,
	} {
		a := b.send("GET", "/x", "", "Origin", origin)
		got := a.header.Get("Access-Control-Allow-Origin")
		if may && (got != origin || a.header.Get("Access-Control-Allow-Credentials") != "true" ||
			!strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Ledger-Position")) {
			t.Errorf("%s may not read: %v", origin, a.header)
		}
		if !may && (got != "" || a.header.Get("Access-Control-Allow-Credentials") != "") {
			t.Errorf("%s may read: %v", origin, a.header)
		}
		if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
			t.Errorf("a cache may mix origins up: %v", a.header)
		}
		asked := b.send("OPTIONS", "/x", "", "Origin", origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,idempotency-key,ledger-position")
		if asked.status != 204 || (asked.header.Get("Access-Control-Allow-Origin") == origin) != may {
			t.Errorf("%s asked first: %d %v", origin, asked.status, asked.header)
		}
		if may && (!strings.Contains(asked.header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") ||
			strings.Contains(asked.header.Get("Access-Control-Allow-Headers"), "X-API-Key")) {
			t.Errorf("%s asked first: %v", origin, asked.header)
		}
	}
	none := serving(t, headerRoutes())
	a := none.send("GET", "/x", "", "Origin", "https://app.example")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without a front end: %v", a.header)
	}
}

func TestTheFrontEndsPagesMayUseTheMethodsThatRoutesTake(t *testing.T) {
	const page = "https://app.example"
	for want, routes := range map[string][]Route{
		"GET, HEAD, POST":         headerRoutes(),
		"DELETE, GET, HEAD, POST": append(headerRoutes(), del("/x", writeNote, "Forget", public)),
	} {
		b := serving(t, routes, func(cfg *Config) { cfg.Frontend = page })
		a := b.send("OPTIONS", "/x", "", "Origin", page, "Access-Control-Request-Method", "POST")
		if got := a.header.Get("Access-Control-Allow-Methods"); got != want {
			t.Errorf("they may use %q, not %q", got, want)
		}
	}
}

func TestAFrontEndThatIsAnyoneIsRefused(t *testing.T) {
	for _, address := range []string{"*", "https://*.example", "app.example", "ftp://app.example", "https://",
		"https://a:b@app.example"} {
		if origins, err := originsOf(address); err == nil {
			t.Errorf("%q was taken as %q", address, origins)
		}
	}
}

func TestARequestIDIsTakenOnlyIfItIsFitForALog(t *testing.T) {
	b := serving(t, headerRoutes())
	for sent, taken := range map[string]bool{
		"a": true, "trace-1.2_3": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
		"a b": false, "a\tb": false, "a=b": false, "ü": false, "a;b": false, "": false, `a"b`: false,
	} {
		got := b.send("GET", "/livez", "", "X-Request-Id", sent).header.Get("X-Request-Id")
		if (got == sent) != taken || got == "" {
			t.Errorf("%q became %q", sent, got)
		}
	}
}

// Raw bytes, as no client library sends them.
func TestAHeaderCannotForgeALineOfTheLog(t *testing.T) {
	b := serving(t, headerRoutes())
	c, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("GET /x%0alevel=ERROR HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\rlevel=ERROR msg=forged\r\n\r\n"))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.log.String()) {
		if strings.Contains(line, "forged") || !strings.HasPrefix(line, "time=") {
			t.Errorf("logged %q", line)
		}
	}
}

func TestTooManyRequestsAtOnceAreTurnedAway(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	slow := func(context.Context, nothing) (nothing, error) {
		enter <- struct{}{}
		<-leave
		return nothing{}, nil
	}
	b := serving(t, []Route{get("/slow", slow, "Take long", public), get("/x", whoAsks, "Read", public)},
		func(cfg *Config) { cfg.InFlightMax = 2 })
	answers := make(chan answer, 2)
	for range 2 {
		go func() { answers <- b.send("GET", "/slow", "") }()
		<-enter
	}
	a := b.send("GET", "/x", "")
	a.wants(t, 503, "overloaded")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	b.send("GET", "/livez", "").wants(t, 200, "")
	b.send("GET", "/metrics", "").wants(t, 200, "")
	close(leave)
	for range 2 {
		(<-answers).wants(t, 200, "")
	}
	b.send("GET", "/x", "").wants(t, 200, "")
}

func TestWhoKeepsABodyBackKeepsNobodysPlace(t *testing.T) {
	hear := func(_ context.Context, in struct {
		Body []byte `body:"raw"`
	}) (string, error) {
		return string(in.Body), nil
	}
	b := serving(t, []Route{post("/x", hear, "Hear", public, rawBody)}, func(cfg *Config) { cfg.InFlightMax = 1 })
	c, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := bufio.NewReader(c)
	_, _ = c.Write([]byte("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"))
	if status, err := answer.ReadString('\n'); err != nil || !strings.Contains(status, " 100 ") {
		t.Fatalf("the body is not waited for, but %q: %v", status, err)
	}
	_, _ = answer.ReadString('\n')
	_, _ = c.Write([]byte("a"))
	b.send("POST", "/x", "abc").wants(t, 200, "")
	_, _ = c.Write([]byte("bc"))
	status, err := answer.ReadString('\n')
	if err != nil || !strings.Contains(status, " 200 ") {
		t.Errorf("the slow one is answered %q: %v", status, err)
	}
}

func TestWhoseBodyIsNotWantedIsToldSoBeforeTheySendIt(t *testing.T) {
	b := serving(t, []Route{post("/x", writeNote, "Write", user)})
	for what, header := range map[string]string{
		"who asks first":           "Content-Length: 3\r\nExpect: 100-continue\r\n",
		"who says that it is long": "Content-Length: 1000000\r\n",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Write([]byte("POST /x HTTP/1.1\r\nHost: a\r\n" + header + "\r\n"))
		if status, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(status, " 401 ") {
			t.Errorf("%s is answered %q: %v", what, status, err)
		}
	}
}

func TestARequestHasItsTime(t *testing.T) {
	forever := func(ctx context.Context, _ nothing) (nothing, error) {
		<-ctx.Done()
		return nothing{}, ctx.Err()
	}
	b := serving(t, []Route{post("/x", forever, "Take for ever", public)},
		func(cfg *Config) { cfg.RequestMax = 20 * time.Millisecond })
	b.send("POST", "/x", "").wants(t, 503, "timeout")
}

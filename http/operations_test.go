package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	nethttp "net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"truebond/commands"
	"truebond/ledger"
)

func TestReadyTellsWhatIsMissing(t *testing.T) {
	var down atomic.Bool
	b := serving(t, nil, func(cfg *Config) {
		cfg.Checks = []Check{
			{Name: "log", Check: func(context.Context) (string, error) { return "12 events", nil }},
			{Name: "redis", Check: func(context.Context) (string, error) {
				if down.Load() {
					return "", errors.New("dial 10.1.2.3: refused")
				}
				return "", nil
			}},
		}
	})
	up := b.send("GET", "/readyz", "")
	up.wants(t, 200, "")
	if up.json(t)["ready"] != true || !strings.Contains(string(up.body), "12 events") {
		t.Errorf("ready: %s", up.body)
	}
	down.Store(true)
	a := b.send("GET", "/readyz", "")
	if a.status != 503 || a.json(t)["ready"] != false ||
		!strings.Contains(string(a.body), `{"name":"redis","ok":false}`) ||
		!strings.Contains(string(a.body), `"name":"log","ok":true`) {
		t.Errorf("not ready: %d %s", a.status, a.body)
	}
	if strings.Contains(string(a.body), "10.1.2.3") || len(linesWith(b.log.String(), "10.1.2.3")) != 1 {
		t.Errorf("why is for the log: %s", a.body)
	}
	b.send("GET", "/livez", "").wants(t, 200, "")
}

func TestTheServersAddressLeadsToItsDocs(t *testing.T) {
	b := serving(t, nil)
	b.client.CheckRedirect = func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse }
	for _, method := range []string{"GET", "HEAD"} {
		if a := b.send(method, "/", ""); a.status != 302 || a.header.Get("Location") != "/docs" {
			t.Errorf("%s / answered %d %v", method, a.status, a.header)
		}
	}
	b.send("GET", "/nothing", "").wants(t, 404, "not_found")
	b.send("POST", "/", "{}").wants(t, 405, "method_not_allowed")
}

func TestACheckThatHangsIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, err := New(Config{
			Log: slog.New(slog.DiscardHandler), Stored: func() uint64 { return 0 },
			Checks: []Check{{Name: "store", Check: func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		server.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
		if answer.Code != 503 {
			t.Errorf("ready: %d %s", answer.Code, answer.Body)
		}
	})
}

func TestMetricsCountByRouteAndNotByPath(t *testing.T) {
	behind := prometheus.NewGauge(prometheus.GaugeOpts{Name: "truebond_views_behind", Help: "Events."})
	behind.Set(42)
	b := serving(t, []Route{get("/things/{id}", func(context.Context, search) (nothing, error) { return nothing{}, nil },
		"Read", public)}, func(cfg *Config) { cfg.Metrics = []prometheus.Collector{behind} })
	for _, path := range []string{"/things/1", "/things/2", "/nothing/1", "/nothing/2"} {
		b.send("GET", path, "")
	}
	b.send("BREW", "/nothing", "")
	text := string(b.send("GET", "/metrics", "").body)
	for _, want := range []string{
		`truebond_http_requests_total{method="GET",route="/things/{id}",status="200"} 2`,
		`truebond_http_requests_total{method="GET",route="unmatched",status="404"} 2`,
		`truebond_http_requests_total{method="other",route="unmatched",status="404"} 1`,
		`truebond_http_request_seconds_count{method="GET",route="/things/{id}"} 2`,
		"truebond_views_behind 42", "truebond_http_requests_in_flight 1", "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	if strings.Contains(text, "/nothing") {
		t.Error("the metrics grow with what clients make up")
	}
}

// The page of /docs loads nothing from elsewhere, and its own policy lets it run: all it
// loads is there, and all that is inline stands in the policy by its hash.
func TestTheDocsRunUnderTheirOwnPolicy(t *testing.T) {
	b := serving(t, nil)
	page := b.send("GET", "/docs", "")
	if page.status != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("the page is %d %s", page.status, page.header.Get("Content-Type"))
	}
	csp := page.header.Get("Content-Security-Policy")
	loaded := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllSubmatch(page.body, -1)
	if len(loaded) < 3 {
		t.Errorf("the page loads %q", loaded)
	}
	for _, l := range loaded {
		path := string(l[1])
		if !strings.HasPrefix(path, "/docs/") {
			t.Errorf("the page loads %s", path)
			continue
		}
		if a := b.send("GET", path, ""); a.status != 200 || len(a.body) == 0 {
			t.Errorf("%s is %d", path, a.status)
		}
	}
	inline := regexp.MustCompile(`(?s)<(script|style)([^>]*)>`).FindAllSubmatch(page.body, -1)
	hashed := 0
	for _, part := range inline {
		if !bytes.Contains(part[2], []byte("src=")) {
			hashed++
		}
	}
	if hashed == 0 || strings.Count(csp, "'sha256-") != hashed || bytes.Contains(page.body, []byte(" onload=")) {
		t.Errorf("%d parts are inline, and the policy is %s", hashed, csp)
	}
	b.send("GET", "/docs/../openapi.json", "")
	b.send("GET", "/docs/nothing", "").wants(t, 404, "")
}

// lines is a stream that a test feeds.
type lines struct {
	ctx  context.Context
	feed chan any
}

func (l lines) Lines(write func(any) error) error {
	for {
		select {
		case line, more := <-l.feed:
			if !more {
				return nil
			}
			if err, failed := line.(error); failed {
				return err
			}
			if err := write(line); err != nil {
				return err
			}
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

func servingLines(t *testing.T) (*bench, chan any) {
	feed := make(chan any)
	return serving(t, []Route{get("/lines", func(ctx context.Context, _ nothing) (lines, error) {
		return lines{ctx, feed}, nil
	}, "Follow", public)}, func(cfg *Config) { cfg.RequestMax = time.Millisecond }), feed
}

func TestAStreamComesLineByLine(t *testing.T) {
	b, feed := servingLines(t)
	go func() { feed <- map[string]int{"n": 1} }()
	res, err := b.client.Get(b.base + "/lines")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") != ndjsonType {
		t.Errorf("the stream is %s", res.Header.Get("Content-Type"))
	}
	first := make([]byte, 8)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "{\"n\":1}\n" {
		t.Fatalf("the first line is %q, %v", first, err)
	}
	go func() { feed <- errors.New("the inside") }()
	rest, err := io.ReadAll(res.Body)
	if err != nil || !strings.HasPrefix(string(rest), `{"problem":`) || strings.Contains(string(rest), "the inside") ||
		!strings.HasSuffix(string(rest), "}\n") {
		t.Errorf("the last line is %q, %v", rest, err)
	}
}

func TestStoppingEndsStreams(t *testing.T) {
	b, feed := servingLines(t)
	go func() { feed <- "begun" }()
	res, err := b.client.Get(b.base + "/lines")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- b.server.Shutdown(context.Background()) }()
	rest, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
	if !strings.Contains(string(rest), `"code":"stopping"`) {
		t.Errorf("its last line is %s", rest)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAStreamEndsWithTheSessionOrTheKeyThatOpenedIt(t *testing.T) {
	feed := make(chan any)
	follow := func(ctx context.Context, _ nothing) (lines, error) { return lines{ctx, feed}, nil }
	b := serving(t, []Route{get("/lines", follow, "Follow", admin, operator)},
		briefly, func(cfg *Config) { cfg.AdmitEvery = time.Millisecond })
	b.keys["tb_key"] = []string{ledger.ScopeOperator}
	b.views.grow(4)
	revoke := func() { _ = b.server.cfg.Positions.Note(t.Context(), 4, commands.BearerOf("tb_key").String()) }
	for _, c := range []struct {
		name       string
		credential string
		end        func()
		code       string
	}{
		{"a session", b.as("usr_1", "admin"), func() { b.sessions.end("ses_usr_1") }, "invalid_token"},
		{"a role", b.as("usr_2", "admin"), func() { b.sessions.start("ses_usr_2", "usr_2", "user") }, "forbidden"},
		{"a key, while the views stand still", "Bearer tb_key", revoke, "views_behind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			go func() { feed <- "begun" }()
			req, err := nethttp.NewRequest("GET", b.base+"/lines", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", c.credential)
			res, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if _, err := io.ReadFull(res.Body, make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
			c.end()
			rest, err := io.ReadAll(res.Body)
			if err != nil || !strings.Contains(string(rest), `"code":"`+c.code+`"`) {
				t.Errorf("its last line is %s, %v", rest, err)
			}
		})
	}
}

// It waits for views, say, or for a leader.
func TestAStreamThatHasNotBegunIsToldThatTheServerStops(t *testing.T) {
	b, _ := servingLines(t)
	b.views.grow(1)
	stopped := make(chan error, 1)
	go func() {
		for len(b.views.waits()) == 0 {
			time.Sleep(time.Millisecond)
		}
		stopped <- b.server.Shutdown(context.Background())
	}()
	b.send("GET", "/lines", "", headerPosition, "1").wants(t, 503, "stopping")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Requests come on kept connections without a pause while the server stops. Each one
// that is begun is done, and its client gets the whole answer.
func TestStoppingLosesNoRequest(t *testing.T) {
	var begun, done atomic.Int64
	b := serving(t, []Route{post("/x", func(context.Context, nothing) (nothing, error) {
		begun.Add(1)
		time.Sleep(2 * time.Millisecond)
		done.Add(1)
		return nothing{}, nil
	}, "Write", public, unlimited)}, func(cfg *Config) { cfg.DrainFor = 10 * time.Second })
	var answered atomic.Int64
	ended := make(chan error, 8)
	for range 8 {
		go func() { ended <- b.callUntilRefused(&answered) }()
	}
	for answered.Load() < 50 {
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- b.server.Shutdown(context.Background()) }()
	for range 8 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if begun.Load() != done.Load() || done.Load() != answered.Load() {
		t.Errorf("%d begun, %d done, %d answered", begun.Load(), done.Load(), answered.Load())
	}
}

// callUntilRefused sends requests, on one connection as long as that is kept, until one
// is turned away before it is answered at all.
func (b *bench) callUntilRefused(answered *atomic.Int64) error {
	client := &nethttp.Client{Transport: &nethttp.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for {
		res, err := client.Post(b.base+"/x", "", nil)
		if err != nil {
			return nil // the counts tell whether it had been begun
		}
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 {
			return errors.Join(err, errors.New(res.Status))
		}
		answered.Add(1)
	}
}

func TestWhileItStopsTheServerIsNotReadyAndTellsItsClientsToGo(t *testing.T) {
	b := serving(t, nil, func(cfg *Config) { cfg.DrainFor = time.Minute })
	if a := b.send("GET", "/livez", ""); a.last {
		t.Error("a connection is not kept")
	}
	stopped := make(chan error, 1)
	go func() { stopped <- b.server.Shutdown(context.Background()) }()
	for !b.server.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	if a := b.send("GET", "/readyz", ""); a.status != 503 || !a.last {
		t.Errorf("while it stops it is %d, and keeps its connections: %v", a.status, !a.last)
	}
	if err := <-stopped; err != nil { // long before the minute is over: nobody is left to be told
		t.Error(err)
	}
}

func TestStoppingDoesNotWaitForEver(t *testing.T) {
	entered := make(chan struct{})
	b := serving(t, []Route{get("/x", func(ctx context.Context, _ nothing) (nothing, error) {
		close(entered)
		<-ctx.Done()
		return nothing{}, ctx.Err()
	}, "Hang", public)})
	answered := make(chan error, 1)
	go func() {
		res, err := b.client.Get(b.base + "/x")
		if err == nil {
			res.Body.Close()
		}
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.server.Shutdown(ctx); err == nil {
		t.Error("it says that it lost nothing")
	}
	if err := <-answered; err == nil {
		t.Error("a request that hangs was answered")
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	for _, s := range []*nethttp.Server{serving(t, nil).server.outside, serving(t, nil).server.socket} {
		if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 ||
			s.MaxHeaderBytes == 0 {
			t.Errorf("a connection may take for ever: %+v", s)
		}
	}
}

func TestTooLongAHeaderIsRefused(t *testing.T) {
	b := serving(t, nil)
	if a := b.send("GET", "/livez", "", "X-Long", strings.Repeat("a", 64<<10)); a.status != 431 {
		t.Errorf("answered %d", a.status)
	}
}

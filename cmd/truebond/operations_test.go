package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"truebond/cmd/truebond/server"
)

func TestAServerTellsHowItIs(t *testing.T) {
	w := begin(t, embedded)
	w.signsUp()
	w.ask("GET", "/livez", "", nil).is(200).says("live", true)
	ready := w.ask("GET", "/readyz", "", nil).is(200).says("ready", true)
	names := []string{}
	for _, check := range listOf[struct {
		Name string
		OK   bool
	}](ready, "checks") {
		names = append(names, check.Name)
		if !check.OK {
			t.Errorf("%s is not ready: %s", check.Name, ready.body)
		}
	}
	if strings.Join(names, " ") != "log store vault redis views" {
		t.Errorf("asked were %v", names)
	}
	if p := w.position(); p != "3" {
		t.Errorf("after the seed and a sign-up the log is at %s", p)
	}
	metrics := string(w.ask("GET", "/metrics", "", nil).is(200).body)
	for _, name := range []string{"truebond_views_position", "truebond_views_behind_events",
		"truebond_commands_under_way", "truebond_timers_refused",
		`truebond_http_requests_total{method="POST",route="/api/auth/signup",status="201"} 1`, "go_goroutines",
		"truebond_http_request_seconds_bucket", "truebond_http_requests_in_flight"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("/metrics says nothing of %s", name)
		}
	}
	if strings.Contains(metrics, "usr_") || strings.Contains(metrics, "@example.com") {
		t.Error("/metrics tells of persons")
	}
}

var linked = regexp.MustCompile(`(?:src|href)="([^"]+)"`)

func TestMetricsAreNamedAsPrometheusHasIt(t *testing.T) {
	w := serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", Archive: t.TempDir(), ArchiveEvery: time.Hour})
	w.signsUp()
	metrics := w.ask("GET", "/metrics", "", nil).is(200).body
	problems, err := promlint.New(bytes.NewReader(metrics)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint finds %v: %v", problems, err)
	}
}

func TestTheDocumentsOfTheAPIAreServedWithAllThatTheyNeed(t *testing.T) {
	w := begin(t, embedded)
	w.ask("GET", "/openapi.json", "", nil).is(200).says("info.title", "TrueBond")
	page := w.ask("GET", "/docs", "", nil).is(200)
	if page.header.Get("Content-Security-Policy") == "" {
		t.Error("/docs has no policy")
	}
	links := linked.FindAllStringSubmatch(string(page.body), -1)
	if len(links) == 0 {
		t.Fatalf("/docs needs nothing: %s", page.body)
	}
	for _, link := range links {
		if strings.HasPrefix(link[1], "http") || !strings.HasPrefix(link[1], "/") {
			t.Errorf("/docs takes %s from elsewhere", link[1])
			continue
		}
		w.ask("GET", link[1], "", nil).is(200)
	}
	w.ask("GET", "/api/no/such/route", "", nil).is(404).says("code", "not_found")
	w.ask("PATCH", "/api/credits/balance", "", nil).is(405).says("code", "method_not_allowed")
}

func TestTheLogIsNotFollowedFromBeyondItsEnd(t *testing.T) {
	w := begin(t, embedded)
	for _, after := range []string{"3", "9223372036854775807", "18446744073709551615"} {
		w.askOn(w.socket, "http://operator", "GET", "/api/operator/tail?after="+after, "", nil).is(200).
			says("problem.code", "beyond_log")
	}
}

func TestAllThatAServerLogsIsJSON(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asProgram+"=1", "REDIS_URL=redis://127.0.0.1:1/0")
	said, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "connection pool") {
		t.Errorf("it ended with %v, and its Redis client has said nothing:\n%s", err, said)
	}
	for line := range strings.Lines(string(said)) {
		if !json.Valid([]byte(line)) && !strings.HasPrefix(line, "truebond: ") {
			t.Errorf("it logged %s", line)
		}
	}
}

package http

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/swaggest/swgui/v5emb"
)

const checkMax = 2 * time.Second // for one check; what answers later is not ready

// A Check is something that the server needs to be of use.
type Check struct {
	Name  string
	Check func(ctx context.Context) (detail string, err error) // detail is for all to see
}

type checked struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

type readiness struct {
	Ready  bool      `json:"ready"`
	Checks []checked `json:"checks"`
}

var operationPaths = []string{"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/*"}

// isOperation tells whether a path is about the server itself: it is served however
// busy the server is.
func isOperation(path string) bool { return slices.Contains(operationPaths, path) }

func (s *Server) addOperations(e *echo.Echo) error {
	docs, err := newDocs()
	if err != nil {
		return err
	}
	metrics := echo.WrapHandler(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	for path, serve := range map[string]echo.HandlerFunc{
		// Who opens the server's address in a browser finds the way.
		"/":        func(c echo.Context) error { return c.Redirect(nethttp.StatusFound, "/docs") },
		"/livez":   func(c echo.Context) error { return c.JSON(nethttp.StatusOK, map[string]bool{"live": true}) },
		"/readyz":  s.readyz,
		"/metrics": metrics,
		"/openapi.json": func(c echo.Context) error {
			document, err := s.openAPI()
			if err != nil {
				return err
			}
			return c.Blob(nethttp.StatusOK, jsonType, document)
		},
		"/docs":   docs.serve,
		"/docs/*": docs.serve,
	} {
		e.GET(path, serve)
		e.HEAD(path, serve)
	}
	return nil
}

// readyz asks all that the server needs, at once. A server that is stopping is not ready.
func (s *Server) readyz(c echo.Context) error {
	answer := readiness{Ready: !s.draining.Load(), Checks: make([]checked, len(s.cfg.Checks))}
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkMax)
	defer cancel()
	var asked sync.WaitGroup
	for i, check := range s.cfg.Checks {
		asked.Go(func() {
			detail, err := check.Check(ctx)
			if err != nil {
				s.log.WarnContext(ctx, "not ready", "check", check.Name, "error", err)
			}
			answer.Checks[i] = checked{Name: check.Name, OK: err == nil, Detail: detail}
		})
	}
	asked.Wait()
	for _, check := range answer.Checks {
		answer.Ready = answer.Ready && check.OK
	}
	if !answer.Ready {
		return c.JSON(nethttp.StatusServiceUnavailable, answer)
	}
	return c.JSON(nethttp.StatusOK, answer)
}

type metrics struct {
	registry *prometheus.Registry
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(more []prometheus.Collector) (*metrics, error) {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "truebond_http_requests_in_flight", Help: "Requests under way."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "truebond_http_requests_total", Help: "Requests answered."},
			[]string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "truebond_http_request_seconds", Help: "How long answers took.",
			Buckets: prometheus.ExponentialBucketsRange(0.0005, 10, 14)}, []string{"method", "route"}),
	}
	all := append([]prometheus.Collector{m.inFlight, m.requests, m.seconds, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}, more...)
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("register a metric: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(method, route).Observe(took.Seconds())
}

// docs is a page that shows /openapi.json. All it needs comes from this server; its
// inline parts are allowed by their hashes and nothing else is.
type docs struct {
	ui  nethttp.Handler
	csp string
}

var inlineParts = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

func newDocs() (*docs, error) {
	ui := v5emb.New("TrueBond", "/openapi.json", "/docs")
	page := httptest.NewRecorder()
	ui.ServeHTTP(page, httptest.NewRequest(nethttp.MethodGet, "/docs", nil))
	hashes := map[string][]string{}
	for _, part := range inlineParts.FindAllStringSubmatch(page.Body.String(), -1) {
		sum := sha256.Sum256([]byte(part[2]))
		hashes[part[1]] = append(hashes[part[1]], "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	if page.Code != nethttp.StatusOK || len(hashes["script"]) == 0 {
		return nil, fmt.Errorf("the page of /docs is not as expected")
	}
	return &docs{ui: ui, csp: "default-src 'none'; connect-src 'self'; img-src 'self' data:; " +
		"script-src 'self' " + strings.Join(hashes["script"], " ") + "; " +
		"style-src 'self' " + strings.Join(hashes["style"], " ") + "; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, nil
}

func (d *docs) serve(c echo.Context) error {
	c.Response().Header().Set("Content-Security-Policy", d.csp)
	d.ui.ServeHTTP(c.Response(), c.Request())
	return nil
}

package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"truebond/commands/token"
)

// What a server bears. A connection that is slower, or a header that is longer, is not
// an app's.
const (
	headerTimeMax = 5 * time.Second
	readTimeMax   = 30 * time.Second
	requestMax    = 30 * time.Second
	waitMax       = 5 * time.Second  // for the views; longer than any projector takes that is not in trouble
	writeTimeMax  = 60 * time.Second // includes the handler's time
	idleTimeMax   = 2 * time.Minute
	drainFor      = time.Second // a client that has not come by then is not in a hurry
	headerMax     = 16 << 10    // bytes
	admitEvery    = 5 * time.Second
	inFlightMax   = 4096 // requests; four times what the writer is measured with
)

// ConnectionsMax is how many connections from outside are open at once, some 20 KiB each.
const ConnectionsMax = 16_384

// Config is what a server needs. What says "default" may be left empty.
type Config struct {
	Routes   []Route
	Tokens   *token.Tokens
	Sessions Sessions
	APIKeys  APIKeys
	Redis    redis.UniversalClient // counts requests; its client's own timeouts apply, too
	Log      *slog.Logger          // masks what a log must not hold

	// HashRequest is a keyed hash of a command's method, URL and body.
	HashRequest func(route string, body []byte) []byte
	// Wait returns when the views are at a position, or with the context's error. A
	// position beyond the log's end is the refusal `beyond_log`.
	Wait func(ctx context.Context, position uint64) error
	// LogEnd is where the log ended when the server started: nobody reads less than that.
	LogEnd uint64
	// Positions remembers where each caller wrote last; default: in this process.
	Positions Positions
	// Cluster has another process serve commands; default: this one is alone.
	Cluster Cluster
	// Stored is the position that the views are at.
	Stored func() uint64

	Checks   []Check
	Metrics  []prometheus.Collector
	Frontend string         // FRONTEND_URL: the only pages that browsers let read answers
	Backend  string         // BACKEND_URL, for the API's document
	Version  string         // of the program
	Proxies  []netip.Prefix // whose X-Forwarded-For is believed

	AddressPerMinute int           // requests of one address over all routes; default 6,000
	InFlightMax      int           // requests under way at once; default 4,096
	ConnectionsMax   int           // from outside, open at once; default 16,384
	RequestMax       time.Duration // for one request; default 30 s
	WaitMax          time.Duration // for the views to see a caller's own write; default 5 s
	DrainFor         time.Duration // at most, to tell those who keep connections; default 1 s
	AdmitEvery       time.Duration // between two looks at whether who follows a stream still may; default 5 s
}

// A Server serves the routes of its table.
type Server struct {
	cfg     Config
	log     *slog.Logger
	echo    *echo.Echo
	names   map[string]string // Echo's path → the table's
	origins []string
	methods []string // that any route takes
	limits  *limits
	metrics *metrics
	openAPI func() ([]byte, error) // made when it is first asked for: it takes a while
	places  chan struct{}
	inside  room // of the connections from outside

	outside  *nethttp.Server
	socket   *nethttp.Server
	kept     kept
	draining atomic.Bool
	stopping context.Context // done when streams must end
	stop     context.CancelFunc
}

// New makes a server. Errors: a line of the table that makes no sense, an address of the
// front end that is none, a metric that is there twice.
func New(cfg Config) (*Server, error) {
	cfg.fillDefaults()
	s := &Server{cfg: cfg, log: cfg.Log, names: map[string]string{},
		limits: newLimits(cfg.Redis, cfg.AddressPerMinute, cfg.Log),
		places: make(chan struct{}, cfg.InFlightMax), inside: make(room, cfg.ConnectionsMax),
		kept: kept{conns: map[net.Conn]struct{}{}}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	var err error
	if s.origins, err = originsOf(cfg.Frontend); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, err
	}
	if err = s.addRoutes(); err != nil {
		return nil, err
	}
	s.openAPI = sync.OnceValues(func() ([]byte, error) { return describe(cfg) })
	s.outside, s.socket = s.newListening(), s.newListening()
	s.outside.ConnState = func(c net.Conn, state nethttp.ConnState) {
		s.kept.changed(c, state)
		s.inside.changed(state)
	}
	s.socket.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(s.kept.opened(ctx, c), operatorConn{}, true)
	}
	return s, nil
}

func (cfg *Config) fillDefaults() {
	if cfg.Positions == nil {
		cfg.Positions = newLastPositions(cfg.Stored, positionsMax, cfg.LogEnd)
	}
	cfg.AddressPerMinute = cmp.Or(cfg.AddressPerMinute, addressPerMinute)
	cfg.InFlightMax = cmp.Or(cfg.InFlightMax, inFlightMax)
	cfg.ConnectionsMax = cmp.Or(cfg.ConnectionsMax, ConnectionsMax)
	cfg.RequestMax = cmp.Or(cfg.RequestMax, requestMax)
	cfg.WaitMax = cmp.Or(cfg.WaitMax, waitMax)
	cfg.DrainFor = cmp.Or(cfg.DrainFor, drainFor)
	cfg.AdmitEvery = cmp.Or(cfg.AdmitEvery, admitEvery)
}

func (s *Server) addRoutes() error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard)
	e.Use(s.around)
	if err := s.addOperations(e); err != nil {
		return err
	}
	for _, path := range operationPaths {
		s.names[path] = path
	}
	taken := map[string]bool{}
	for i := range s.cfg.Routes {
		r := &s.cfg.Routes[i]
		if err := r.prepare(); err != nil {
			return err
		}
		if taken[r.key()] {
			return fmt.Errorf("route %s: it is there twice", r.key())
		}
		taken[r.key()] = true
		s.names[r.echoPath()] = r.path
		e.Add(r.method, r.echoPath(), s.handle(r))
		if !r.command() && !r.streaming {
			e.HEAD(r.echoPath(), s.handle(r))
		}
	}
	for _, r := range e.Routes() {
		s.methods = append(s.methods, r.Method)
	}
	slices.Sort(s.methods)
	s.methods = slices.Compact(s.methods)
	s.echo = e
	return nil
}

// routeName is the table's name of what Echo found.
func (s *Server) routeName(echoPath string) string {
	if name, ok := s.names[echoPath]; ok {
		return name
	}
	return "unmatched"
}

func (s *Server) newListening() *nethttp.Server {
	return &nethttp.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: headerTimeMax,
		ReadTimeout:       readTimeMax,
		WriteTimeout:      writeTimeMax,
		IdleTimeout:       idleTimeMax,
		MaxHeaderBytes:    headerMax,
		ConnContext:       s.kept.opened,
		ConnState:         s.kept.changed,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// Handler serves as the world outside is served.
func (s *Server) Handler() nethttp.Handler { return s.echo }

// OpenAPI is the document that describes the API, as JSON.
func (s *Server) OpenAPI() ([]byte, error) { return s.openAPI() }

// Serve serves the world outside on a listener until Shutdown. It may be called for
// several. Whatever error it gives, the listener is closed.
func (s *Server) Serve(l net.Listener) error {
	return unlessClosed(s.outside.Serve(s.inside.doors(l)))
}

// ServeOperator serves an operator's socket until Shutdown: whoever can connect to it
// is the operator, so that its file must be its owner's alone.
func (s *Server) ServeOperator(l net.Listener) error { return unlessClosed(s.socket.Serve(l)) }

func unlessClosed(err error) error {
	if errors.Is(err, nethttp.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops without losing a request: for a while clients are told to go elsewhere,
// then no more are let in, and those under way are answered. Streams end. An error means
// that the context was done before that, and that connections were cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.kept.drain(ctx, s.cfg.DrainFor)
	s.stop()
	err := errors.Join(s.outside.Shutdown(ctx), s.socket.Shutdown(ctx))
	if err != nil {
		return errors.Join(err, s.outside.Close(), s.socket.Close())
	}
	return nil
}

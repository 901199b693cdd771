package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/ledger"
)

// A Cluster has the one process that decides serve commands that came to another.
type Cluster interface {
	// Leads tells whether this process is the one.
	Leads() bool
	// Pass sends a request to the leader and gives the parts of its answer. here means that
	// this process leads: it serves the request itself. A refusal says that there is no
	// leader, or that nobody knows what became of the request.
	Pass(ctx context.Context, request []byte, part func([]byte) error) (here bool, err error)
}

const (
	forwardedPartMax = 256 << 10 // bytes of an answer that are sent on at once
	forwardedHeadMax = 64 << 10  // bytes that a request's head may have; ours have a quarter of it

	lookUpMax = time.Second // for who asks; a bulk must not wait for views that are away
)

// A forwarded is a request's head as it goes from one process to another. The leader
// believes what the sender says of where the request came from.
type forwarded struct {
	Method   string         `json:"method"`
	URI      string         `json:"uri"`
	Header   nethttp.Header `json:"header"`
	Address  string         `json:"address"`  // of the client, as far as proxies vouch for it
	Operator bool           `json:"operator"` // it came over an operator's socket
	LeftMS   int64          `json:"left_ms"`  // of its time; 0: as long as it takes
}

// An answered is an answer's head on its way back.
type answered struct {
	Status int            `json:"status"`
	Header nethttp.Header `json:"header"`
}

// forwardedFrom is where a request came in that another process has sent on.
type forwardedFrom struct{}

// isForwarded tells whether a request was sent on already. It is never sent on again.
func isForwarded(ctx context.Context) bool { return ctx.Value(forwardedFrom{}) != nil }

// addressOf is the client's address.
func (s *Server) addressOf(req *nethttp.Request) string {
	if address, ok := req.Context().Value(forwardedFrom{}).(string); ok {
		return address
	}
	return addressOf(req, s.cfg.Proxies)
}

// passOn has the leader serve a command. It returns here, and the request as good as
// new, when that is this process.
func (s *Server) passOn(c echo.Context, r *Route) (here bool, err error) {
	req := c.Request()
	if s.cfg.Cluster == nil || isForwarded(req.Context()) || s.cfg.Cluster.Leads() {
		return true, nil
	}
	if r.bodyMax > bodyMax && !r.open {
		if err := s.turnAway(c, r); err != nil {
			return false, err
		}
	}
	// Else only its size is looked at here: what is wrong besides is the leader's to say, after it
	// has asked who sends it.
	body, err := readBody(c.Response().Writer, req, &Route{method: r.method, bodyMax: r.bodyMax, raw: true})
	if err != nil {
		return false, err
	}
	if r.vet != nil {
		if err := r.vet(body, req.Header); err != nil {
			return false, err
		}
	}
	ctx, cancel := s.bounded(req.Context(), r)
	defer cancel()
	head := forwarded{Method: req.Method, URI: req.URL.RequestURI(), Header: req.Header.Clone(),
		Address: s.addressOf(req), Operator: isOperatorConn(ctx)}
	head.Header.Set(headerRequestID, c.Response().Header().Get(headerRequestID))
	if by, bounded := ctx.Deadline(); bounded {
		head.LeftMS = max(1, time.Until(by).Milliseconds())
	}
	request, err := withHead(head, body)
	if err != nil {
		return false, err
	}
	begun := false
	here, err = s.cfg.Cluster.Pass(ctx, request, func(part []byte) error {
		if begun {
			return s.passBack(c, part)
		}
		begun = true
		return s.beginAnswer(c, part)
	})
	if here {
		req.Body = readAgain{bytes.NewReader(body)}
	}
	if err != nil && begun {
		err = &brokenOff{err}
	}
	return here, err
}

// brokenOff is why the rest of an answer does not come.
type brokenOff struct{ error }

// Unwrap is the reason.
func (b *brokenOff) Unwrap() error { return b.error }

// turnAway refuses who may not send a long body, before that is taken and sent on. What cannot be
// looked up here is the leader's to say: it may have it in memory. Limits are counted by both; those
// who send long bodies have none.
func (s *Server) turnAway(c echo.Context, r *Route) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), lookUpMax)
	defer cancel()
	caller, err := s.admit(ctx, c.Response(), c.Request(), r)
	if err == nil || problemOf(err).Status >= nethttp.StatusInternalServerError {
		return nil
	}
	c.Set(actorOfRequest, caller.Actor)
	return err
}

// readAgain is a body that was read once already.
type readAgain struct{ *bytes.Reader }

// Close does nothing.
func (readAgain) Close() error { return nil }

// beginAnswer gives the client the head of the leader's answer, and what came with it.
func (s *Server) beginAnswer(c echo.Context, part []byte) error {
	var head answered
	body, err := cutHead(part, &head)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	for name, values := range head.Header {
		if name != "Connection" { // of the leader's own
			header[name] = values
		}
	}
	c.Response().WriteHeader(head.Status)
	return s.passBack(c, body)
}

// passBack gives the client a part of the answer; a stream's lines at once.
func (s *Server) passBack(c echo.Context, part []byte) error {
	control := nethttp.NewResponseController(c.Response().Writer)
	if err := control.SetWriteDeadline(time.Now().Add(lineMax)); err != nil &&
		!errors.Is(err, nethttp.ErrNotSupported) {
		return fmt.Errorf("bound a part's time: %w", err)
	}
	if _, err := c.Response().Write(part); err != nil {
		return err
	}
	if c.Response().Header().Get(echo.HeaderContentType) != ndjsonType {
		return nil
	}
	return control.Flush()
}

// ServeForwarded serves a request that another process of the cluster has sent on, as if
// it had come in here. send gives a part of the answer on its way, last ends it.
func (s *Server) ServeForwarded(ctx context.Context, request []byte, send func(part []byte) error,
) (last []byte, err error) {
	var head forwarded
	body, err := cutHead(request, &head)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, forwardedFrom{}, head.Address)
	if head.Operator {
		ctx = context.WithValue(ctx, operatorConn{}, true)
	}
	if head.LeftMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(head.LeftMS)*time.Millisecond)
		defer cancel()
	}
	req, err := nethttp.NewRequestWithContext(ctx, head.Method, "", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("read a forwarded request: %w", err)
	}
	// As net/http has read it there: a server knows no fragments.
	if req.URL, err = url.ParseRequestURI(head.URI); err != nil {
		return nil, fmt.Errorf("read a forwarded request: %w", err)
	}
	req.Header, req.RequestURI = head.Header, head.URI
	answer := &sentOn{header: nethttp.Header{}, send: send}
	defer func() {
		// A handler that breaks its answer off ends this request and no more.
		if found := recover(); found != nil {
			last, err = nil, fmt.Errorf("the answer was broken off: %v", found)
		}
	}()
	s.echo.ServeHTTP(answer, req)
	return answer.end(), answer.failed
}

// sentOn is an answer on its way to the process that the request came in at.
type sentOn struct {
	header  nethttp.Header
	send    func([]byte) error
	waiting []byte // begins with the head, until that is sent
	begun   bool
	failed  error
}

// Header is the answer's header.
func (a *sentOn) Header() nethttp.Header { return a.header }

// WriteHeader begins the answer.
func (a *sentOn) WriteHeader(status int) {
	if a.begun {
		return
	}
	a.begun = true
	a.waiting, a.failed = withHead(answered{Status: status, Header: a.header}, nil)
}

// Write adds to the answer.
func (a *sentOn) Write(some []byte) (int, error) {
	a.WriteHeader(nethttp.StatusOK)
	for rest := some; len(rest) > 0 && a.failed == nil; {
		n := min(len(rest), max(0, forwardedPartMax-len(a.waiting)))
		a.waiting = append(a.waiting, rest[:n]...)
		if rest = rest[n:]; len(rest) > 0 {
			a.Flush()
		}
	}
	return len(some), a.failed
}

// Flush sends what is there.
func (a *sentOn) Flush() {
	a.WriteHeader(nethttp.StatusOK)
	if a.failed == nil && len(a.waiting) > 0 {
		a.failed = a.send(a.waiting)
		a.waiting = nil
	}
}

func (a *sentOn) end() []byte {
	a.WriteHeader(nethttp.StatusOK)
	return a.waiting
}

// withHead is a line of JSON and what comes behind it.
func withHead(head any, body []byte) ([]byte, error) {
	line, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	if len(line) > forwardedHeadMax {
		return nil, ledger.Refuse("body_too_large", "The request's head is too large.")
	}
	return append(append(line, '\n'), body...), nil
}

func cutHead(text []byte, head any) (body []byte, err error) {
	line, body, found := bytes.Cut(text, []byte{'\n'})
	if !found {
		return nil, errors.New("what came from another process has no head")
	}
	if err := json.Unmarshal(line, head); err != nil {
		return nil, fmt.Errorf("read what came from another process: %w", err)
	}
	return body, nil
}

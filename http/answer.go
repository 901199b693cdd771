package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
	octetsType = "application/octet-stream"
	lineMax    = 30 * time.Second // for one line of a stream to be taken

	keepForEver = "public, max-age=31536000, immutable" // a year is what caches take for it
)

// handle serves a route: who asks, what they sent, what the handler makes of it.
func (s *Server) handle(r *Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		if r.command() {
			if here, err := s.passOn(c, r); !here {
				return err
			}
		}
		ctx, cancel := s.bounded(c.Request().Context(), r)
		defer cancel()
		return because(ctx, s.handleHere(ctx, c, r))
	}
}

// handleHere serves a request that is this process's to serve.
func (s *Server) handleHere(ctx context.Context, c echo.Context, r *Route) error {
	caller, err := s.admit(ctx, c.Response(), c.Request(), r)
	c.Set(actorOfRequest, caller.Actor)
	if err != nil {
		return err
	}
	if r.streaming {
		var done context.CancelFunc
		ctx, done = s.whileAdmitted(ctx, c.Request(), r)
		defer done()
	}
	out, err := s.serve(ctx, c, r, caller)
	// A refusal may have a receipt as well: a refresh token that comes again ends its session.
	if err := s.noteReceipt(ctx, c.Response().Header(), caller, out); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if lines, ok := out.(Lines); ok {
		return s.stream(ctx, c, lines)
	}
	if raw, ok := out.(Raw); ok {
		return sendRaw(c, r, raw)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return c.Blob(r.status(), jsonType, body)
}

// because puts why a request was ended before what failed with it.
func because(ctx context.Context, err error) error {
	if why := context.Cause(ctx); err != nil && why != nil {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

func sendRaw(c echo.Context, r *Route, raw Raw) error {
	body, forEver := raw.Raw()
	header := c.Response().Header()
	if forEver {
		header.Set(echo.HeaderCacheControl, keepForEver)
	}
	if r.contentType == octetsType && !forEver { // hashes do not become smaller
		var err error
		if body, err = packed(c, body); err != nil {
			return err
		}
	}
	header.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(r.status(), r.contentType, body)
}

// packed compresses an answer for who takes that, as C2SP's tlog-tiles asks for.
func packed(c echo.Context, body []byte) ([]byte, error) {
	header := c.Response().Header()
	header.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	if !takesGzip(c.Request().Header.Values(echo.HeaderAcceptEncoding)) {
		return body, nil
	}
	var small bytes.Buffer
	w, err := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	header.Set(echo.HeaderContentEncoding, "gzip")
	return small.Bytes(), nil
}

// takesGzip reads an Accept-Encoding header.
func takesGzip(accepted []string) bool {
	for coding := range strings.SplitSeq(strings.Join(accepted, ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, q, weighted := strings.Cut(weight, "=")
			n, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			return !weighted || err == nil && n > 0
		}
	}
	return false
}

// bounded gives a request its time. A stream has as much as it takes, until the server
// stops.
func (s *Server) bounded(ctx context.Context, r *Route) (context.Context, context.CancelFunc) {
	if !r.streaming {
		return context.WithTimeout(ctx, s.cfg.RequestMax)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.stopping, func() { cancel(writer.ErrStopping) })
	return ctx, func() { stop(); cancel(nil) }
}

func (s *Server) serve(ctx context.Context, c echo.Context, r *Route, caller ledger.Caller) (any, error) {
	req := c.Request()
	body, err := readBody(c.Response().Writer, req, r)
	if err != nil {
		return nil, err
	}
	params, err := paramsOf(c, r)
	if err != nil {
		return nil, err
	}
	wanted, err := r.wantedPosition(req)
	if err != nil {
		return nil, err
	}
	out, err := r.call(func(in any) (context.Context, error) {
		if err := r.bind(in, req, params, body); err != nil {
			return nil, err
		}
		if r.command() {
			if caller.IdempotencyKey != "" && !r.raw {
				route := req.Method + " " + req.URL.RequestURI()
				caller.Request = s.cfg.HashRequest(route, canonical(body))
				if older := canonicalBefore(body); older != nil {
					caller.OlderRequest = s.cfg.HashRequest(route, older)
				}
			}
			return ledger.WithCaller(ctx, caller), nil
		}
		own, err := s.cfg.Positions.Of(ctx, actorName(caller.Actor))
		if err != nil {
			return nil, err
		}
		return ledger.WithCaller(ctx, caller), s.awaitViews(ctx, max(wanted, own))
	})
	return out, r.inShape.placed(err)
}

// paramsOf are the parameters of the path. Echo leaves them escaped in a path that has
// escaped slashes.
func paramsOf(c echo.Context, r *Route) (map[string]string, error) {
	names := c.ParamNames()
	if len(names) == 0 {
		return nil, nil
	}
	params := make(map[string]string, len(names))
	for i, name := range names {
		value := c.ParamValues()[i]
		if c.Request().URL.RawPath != "" {
			plain, err := url.PathUnescape(value)
			if err != nil {
				return nil, newProblem("malformed_request", "The path is malformed.")
			}
			value = plain
		}
		if name == "*" {
			name = r.rest()
		}
		params[name] = value
	}
	return params, nil
}

// A receipt is what a command's answer says of its event.
type receipt interface {
	ReceiptOf() (position uint64, replayed bool)
	RememberFor() []events.Actor // beside the caller
}

// noteReceipt puts a command's receipt into the header, and remembers it.
func (s *Server) noteReceipt(ctx context.Context, header nethttp.Header, caller ledger.Caller, out any) error {
	r, ok := out.(receipt)
	if !ok {
		return nil
	}
	position, replayed := r.ReceiptOf()
	if replayed {
		header.Set(headerReplayed, "true")
	}
	if position == 0 {
		return nil
	}
	header.Set(headerPosition, strconv.FormatUint(position, 10))
	actors := append(slices.Clip(r.RememberFor()), caller.Actor)
	names := make([]string, 0, len(actors))
	for _, who := range actors {
		if name := actorName(who); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return s.cfg.Positions.Note(ctx, position, slices.Compact(names)...)
}

// actorName is empty for nobody.
func actorName(a events.Actor) string {
	if a.Kind == "" {
		return ""
	}
	return a.String()
}

// stream sends an answer line by line. What goes wrong on the way is its last line.
func (s *Server) stream(ctx context.Context, c echo.Context, lines Lines) error {
	res := c.Response()
	control := nethttp.NewResponseController(res.Writer)
	res.Header().Set(echo.HeaderContentType, ndjsonType)
	res.WriteHeader(nethttp.StatusOK)
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, nethttp.ErrNotSupported) {
		return fmt.Errorf("let a stream take its time: %w", err)
	}
	write := func(line any) error {
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("write a line: %w", err)
		}
		if err := control.SetWriteDeadline(time.Now().Add(lineMax)); err != nil &&
			!errors.Is(err, nethttp.ErrNotSupported) {
			return fmt.Errorf("bound a line's time: %w", err)
		}
		if _, err := res.Write(append(text, '\n')); err != nil {
			return err
		}
		return control.Flush()
	}
	err := lines.Lines(write)
	if err == nil {
		return nil
	}
	told := *problemOf(because(ctx, err))
	told.RequestID = res.Header().Get(headerRequestID)
	_ = write(map[string]any{"problem": &told})
	return err
}

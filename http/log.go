package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	nethttp "net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/events"
	"truebond/ledger"
)

const actorOfRequest = "actor" // where the guard leaves whom it let in, for the log

// around is about every request, also one for nothing that there is: an id, careful
// headers, one line in the log, one count in the metrics, and no failure untold.
func (s *Server) around(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		started := time.Now()
		header := c.Response().Header()
		header.Set(headerRequestID, requestID(c.Request()))
		maps.Copy(header, careful)
		if s.draining.Load() {
			header.Set("Connection", "close") // the client's next request is for another connection
			s.kept.told(c.Request().Context())
		}
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()

		if s.cors(header, c.Request()) {
			return c.NoContent(nethttp.StatusNoContent)
		}
		err := s.safely(c, next)
		var told *problem
		if err != nil {
			told = fail(c, err)
		}
		s.record(c, told, time.Since(started))
		if told != nil && isPanic(told) && c.Response().Status != told.Status {
			panic(nethttp.ErrAbortHandler) // half an answer is out: the client must see that it is broken
		}
		return nil
	}
}

// safely turns a panic into an error.
func (s *Server) safely(c echo.Context, next echo.HandlerFunc) (err error) {
	defer func() {
		found := recover()
		if found == nil {
			return
		}
		if thrown, ok := found.(error); ok && errors.Is(thrown, nethttp.ErrAbortHandler) {
			panic(found)
		}
		err = &panicked{value: found, stack: debug.Stack()}
	}()
	if isOperation(c.Path()) {
		return next(c)
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
		if req := c.Request(); req.ContentLength != 0 {
			req.Body = unhurried{req.Body, s.places}
		}
		return next(c)
	default:
		return ledger.Refuse("overloaded", "Too many requests are under way. Try again soon.")
	}
}

// unhurried is a body while whose next bytes are awaited others may have the request's place:
// clients that keep theirs back would keep all places.
type unhurried struct {
	io.ReadCloser
	places chan struct{}
}

// Read waits for a place again when the bytes are there.
func (b unhurried) Read(p []byte) (int, error) {
	<-b.places
	defer func() { b.places <- struct{}{} }()
	return b.ReadCloser.Read(p)
}

type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func isPanic(err error) bool { return errors.As(err, new(*panicked)) }

// record writes the one line about a request. It names the route and never the path or
// the query, where ids and addresses would stand.
func (s *Server) record(c echo.Context, told *problem, took time.Duration) {
	req, res := c.Request(), c.Response()
	method, route, status := methodName(req.Method), s.routeName(c.Path()), res.Status
	level := slog.LevelInfo
	switch {
	case told == nil && isOperation(c.Path()):
		level = slog.LevelDebug
	case told == nil:
	case errors.Is(told.cause, context.Canceled) && req.Context().Err() != nil:
		status = statusCancelled
	case told.Status >= nethttp.StatusInternalServerError:
		level = slog.LevelError
	}
	s.metrics.count(method, route, status, took)
	if !s.log.Enabled(req.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", res.Header().Get(headerRequestID)),
		slog.String("method", method),
		slog.String("route", route),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
		slog.Int64("bytes", res.Size),
		slog.String("address", s.addressOf(req)),
	}
	if actor, ok := c.Get(actorOfRequest).(events.Actor); ok && actor.Kind != "" {
		attrs = append(attrs, slog.String("actor", actor.String()))
	}
	if told != nil {
		attrs = append(attrs, slog.String("code", told.Code))
	}
	if level == slog.LevelError {
		attrs = append(attrs, slog.Any("error", error(told)))
		attrs = append(attrs, stackOf(told)...)
	}
	attrs = append(attrs, slog.Int("status", status))
	s.log.LogAttrs(req.Context(), level, "request", attrs...)
}

func stackOf(err error) []slog.Attr {
	var p *panicked
	if !errors.As(err, &p) {
		return nil
	}
	return []slog.Attr{slog.String("stack", string(p.stack))}
}

// methodName keeps the names of methods few, whatever clients send.
func methodName(method string) string {
	switch method {
	case nethttp.MethodGet, nethttp.MethodHead, nethttp.MethodPost, nethttp.MethodPut,
		nethttp.MethodPatch, nethttp.MethodDelete, nethttp.MethodOptions:
		return method
	}
	return "other"
}

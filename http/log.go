package http

import (
	"context"
	"errors"
	"log/slog"
	nethttp "net/http"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/events"
)

const actorOfRequest = "actor" // where the guard leaves whom it let in, for the log

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
	if told != nil && status != statusCancelled {
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

package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/labstack/echo/v4"

	"truebond/commands/writer"
	"truebond/ledger"
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

// serve reads what was sent, and has the handler do it. A read first waits for what its caller wrote last.
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

package http

import (
	"errors"
	"fmt"
	"io"
	"maps"
	nethttp "net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/ledger"
)

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
		half := errors.As(err, new(*brokenOff)) || told != nil && isPanic(told) && c.Response().Status != told.Status
		if half {
			panic(nethttp.ErrAbortHandler) // the client must see that its answer is broken
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
			// In a copy: by the body of its own request net/http tells what of it is not read.
			req = req.WithContext(req.Context())
			req.Body = unhurried{req.Body, s.places}
			c.SetRequest(req)
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

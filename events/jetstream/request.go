package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"truebond/events/askagain"
)

// The server's error codes that mean something to us.
const (
	codeNoMessage      = 10037
	codeStreamExists   = 10058
	codeStreamNotFound = 10059
	codeWrongLast      = 10071
	codeWrongLastToo   = 10164
	codeIncomplete     = 10176
	codeDuplicate      = 10201
)

// An apiError is the server's refusal of a request.
type apiError struct {
	Code        int    `json:"code"` // as in HTTP
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode)
}

func isRefused(err error, code int) bool {
	var refused *apiError
	return errors.As(err, &refused) && refused.ErrCode == code
}

// passing tells whether an error may be gone at the next try: no answer, no leader,
// no connection. A refusal stays, but for that of a cluster's server that has just begun
// to lead, and does not know yet that the stream is there.
func (l *Log) passing(err error) bool {
	var refused *apiError
	if errors.As(err, &refused) {
		return refused.Code >= 500 || refused.Code == 408 ||
			refused.ErrCode == codeStreamNotFound && l.there && l.server == nil
	}
	return !errors.Is(err, ErrClosed) && !errors.Is(err, nats.ErrConnectionClosed)
}

// call asks JetStream something and reads its answer.
func (l *Log) call(ctx context.Context, verb string, request, answer any) error {
	body := []byte(nil)
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	msg, err := l.request(ctx, &nats.Msg{Subject: "$JS.API." + verb, Data: body})
	if err != nil {
		return l.orClosed(err)
	}
	var failure struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &failure); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if failure.Error != nil {
		return failure.Error
	}
	return json.Unmarshal(msg.Data, answer)
}

// request asks the server; a cluster again and again, since its leader may just be lost.
func (l *Log) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	if l.server != nil {
		return l.conn.RequestMsgWithContext(ctx, msg)
	}
	return askagain.Request(ctx, l.conn, msg, nil)
}

// orClosed tells a connection that Close ended from one that broke.
func (l *Log) orClosed(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) && l.life.Err() != nil {
		return ErrClosed
	}
	return err
}

// patiently tries until it works, is refused, or ctx ends. A single try may take a
// part of the time only, since the server asked may be gone and another one there. The
// error is the last try's; one that ctx has cut off knows less than the one before it.
func (l *Log) patiently(ctx context.Context, try func(context.Context) error) error {
	var failed error
	for pause := newPause(); ; {
		once, cancel := context.WithTimeout(ctx, min(l.opts.AppendTimeout, l.opts.ReadTimeout/2))
		err := try(once)
		cancel()
		if err == nil || !l.passing(err) {
			return err
		}
		if failed == nil || ctx.Err() == nil {
			failed = err
		}
		if !pause.wait(ctx) {
			return errors.Join(context.Cause(ctx), failed)
		}
	}
}

// reading is a context for one read.
func (l *Log) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := l.within(ctx)
	ctx, cancel := context.WithTimeout(ctx, l.opts.ReadTimeout)
	return ctx, func() { cancel(); end() }
}

// A pause is the time between two tries. It grows to a bound.
type pause struct{ next time.Duration }

const (
	pauseMin = 10 * time.Millisecond
	pauseMax = 300 * time.Millisecond
)

func newPause() *pause { return &pause{next: pauseMin} }

// wait pauses. It is false as soon as ctx has ended.
func (p *pause) wait(ctx context.Context) bool {
	d := p.next/2 + rand.N(p.next/2) // #nosec G404 -- spreads tries, guards nothing
	p.next = min(2*p.next, pauseMax)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"truebond/events"
)

// Follow yields all events after a position, in order, for ever: what is at hand, max
// of them at most, and then what comes. It ends with the error that yield returns,
// with events.ErrGap when an event is missing, with events.ErrShort when the log ends before
// `after`, with the codec's error for an event that it cannot read, and with the cause
// of ctx's end. From a lost connection, server or consumer it recovers by itself.
func (l *Log) Follow(
	ctx context.Context, after uint64, max int, yield func([]events.Record) error,
) error {
	return l.follow(ctx, after, max, yield, func(after uint64, bodies [][]byte) error {
		records := make([]events.Record, 0, len(bodies))
		var unreadable error
		for i, body := range bodies {
			var r events.Record
			if r, unreadable = l.record(after+1+uint64(i), body); unreadable != nil {
				break // those before it are good
			}
			records = append(records, r)
		}
		if len(records) > 0 {
			if err := yield(records); err != nil {
				return err
			}
		}
		return unreadable
	})
}

// FollowBodies is Follow for who needs the exact bytes alone: it decodes nothing. The
// bodies are those of the events behind `after`.
func (l *Log) FollowBodies(
	ctx context.Context, after uint64, max int, yield func(after uint64, bodies [][]byte) error,
) error {
	appended := func(records []events.Record) error {
		bodies := make([][]byte, len(records))
		for i, r := range records {
			bodies[i] = r.Body
		}
		return yield(records[0].Position-1, bodies)
	}
	return l.follow(ctx, after, max, appended, yield)
}

// follow yields what the tail has to appended, and what the server sends to sent.
func (l *Log) follow(
	ctx context.Context, after uint64, max int,
	appended func([]events.Record) error, sent func(after uint64, bodies [][]byte) error,
) error {
	if max < 1 {
		return fmt.Errorf("follow the log: %d events at a time", max)
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	short := 0
	for pause := newPause(); ; {
		before := after
		err := l.tail.follow(ctx, &after, max, appended)
		if err == nil {
			err = l.followOnce(ctx, &after, max, sent)
		}
		var final *finalError
		switch {
		case errors.As(err, &final):
			return final.err
		case ctx.Err() != nil:
			return fmt.Errorf("follow the log after %d: %w", after, context.Cause(ctx))
		case errors.Is(err, errTail):
			continue
		case errors.Is(err, events.ErrShort):
			if short++; short >= doubtsMax {
				return fmt.Errorf("follow the log after %d: %w", after, err)
			}
		}
		if after > before {
			pause, short = newPause(), 0
		}
		l.logger.Debug("log: following it anew", "after", after, "error", err)
		pause.wait(ctx)
	}
}

// errTail says that what comes next is at hand.
var errTail = errors.New("the rest is in the tail")

// A finalError ends Follow. Others make it begin anew where it was.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

// followOnce follows with one consumer until something goes wrong.
func (l *Log) followOnce(
	ctx context.Context, after *uint64, max int, yield func(after uint64, bodies [][]byte) error,
) error {
	last, err := l.Last(ctx)
	if err != nil {
		return err
	}
	if last < *after {
		return fmt.Errorf("%w, at %d", events.ErrShort, last)
	}
	if err := l.followNear(ctx, after, last, max, yield); err != nil {
		return err
	}
	s, err := l.newSession(ctx, *after+1)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		bodies, err := s.next(ctx, *after, max)
		if err != nil {
			return err
		}
		if err := yield(*after, bodies); err != nil {
			return &finalError{err}
		}
		*after += uint64(len(bodies))
		if _, known, _ := l.tail.after(*after, max); known {
			return errTail
		}
	}
}

// Bounds of what is read without a consumer.
const (
	nearMax  = 256 // events from a cluster's log's end
	nearOnce = 16  // at the same time
)

// followNear yields what a cluster's log has already behind a position, if that is little:
// for a consumer the servers need a leader more than for the log, and may just choose one.
func (l *Log) followNear(
	ctx context.Context, after *uint64, last uint64, max int, yield func(after uint64, bodies [][]byte) error,
) error {
	if l.server != nil || last-*after > nearMax {
		return nil
	}
	for *after < last {
		bodies, err := l.readNear(ctx, *after, min(int(last-*after), max, nearOnce)) // #nosec G115 -- nearMax bounds it
		if len(bodies) > 0 {
			if err := yield(*after, bodies); err != nil {
				return &finalError{err}
			}
			*after += uint64(len(bodies))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readNear reads some events that are there, up to the first one that cannot be read.
func (l *Log) readNear(ctx context.Context, after uint64, count int) ([][]byte, error) {
	bodies, errs := make([][]byte, count), make([]error, count)
	var readers sync.WaitGroup
	for i := range count {
		readers.Go(func() {
			position := after + 1 + uint64(i) // #nosec G115 -- an index
			bodies[i], errs[i] = l.bodyAnywhere(ctx, position)
			if errors.Is(errs[i], ErrNotFound) { // one that lags behind was asked
				bodies[i], errs[i] = l.bodyForCertain(ctx, position)
			}
			if errors.Is(errs[i], ErrNotFound) {
				errs[i] = &finalError{fmt.Errorf("%w: %d is missing, and others behind it are not", events.ErrGap, position)}
			}
		})
	}
	readers.Wait()
	for i, err := range errs {
		if err != nil {
			return bodies[:i], err
		}
	}
	return bodies, nil
}

// A session is a consumer of ours on the server, and what it owes us.
type session struct {
	log      *Log
	consumer string
	sub      *nats.Subscription
	unwatch  []func() bool
	owed     int   // events of the last request that did not come yet
	failed   error // what came after the last events
}

// Bounds of one request for events.
const (
	requestTime  = 30 * time.Second
	requestBytes = 8 << 20
	sessionTry   = time.Second // for a cluster to make a consumer, before it is looked again what is at hand
	consumerIdle = time.Minute // after that the server forgets a consumer that nobody asks
)

// newSession makes a consumer that begins with the event at first.
func (l *Log) newSession(ctx context.Context, first uint64) (*session, error) {
	s := &session{log: l, consumer: nuid.Next()}
	link := l.link.Load()
	request := server.CreateConsumerRequest{
		Stream: streamName,
		Config: server.ConsumerConfig{
			Name:              s.consumer,
			DeliverPolicy:     server.DeliverByStartSequence,
			OptStartSeq:       first,
			AckPolicy:         server.AckNone,
			ReplayPolicy:      server.ReplayInstant,
			InactiveThreshold: consumerIdle,
			MemoryStorage:     true,
			Replicas:          1,
		},
	}
	var answer struct{}
	most := l.opts.ReadTimeout
	if l.server == nil {
		most = min(most, sessionTry)
	}
	once, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := l.call(once, "CONSUMER.CREATE."+streamName+"."+s.consumer, request, &answer)
	if err != nil {
		return nil, fmt.Errorf("make a consumer: %w", err)
	}
	if s.sub, err = l.conn.SubscribeSync(nats.NewInbox()); err != nil {
		return nil, err
	}
	// What is under way is bounded by the requests, so the subscription need not be.
	if err = s.sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	// Both wake who waits for an event.
	s.unwatch = append(s.unwatch, context.AfterFunc(ctx, s.unsubscribe),
		context.AfterFunc(link, s.unsubscribe))
	return s, nil
}

func (s *session) unsubscribe() {
	_ = s.sub.Unsubscribe() // it fails only when it is gone already
}

func (s *session) close() {
	for _, stop := range s.unwatch {
		stop()
	}
	s.unsubscribe()
	_ = s.log.conn.Publish("$JS.API.CONSUMER.DELETE."+streamName+"."+s.consumer, nil)
}

// next waits for the event after a position and takes those with it that are at hand.
// They are no more than one request gives: of large ones, max would be more than memory has.
// An error that comes behind events is kept until these are yielded.
func (s *session) next(ctx context.Context, after uint64, max int) ([][]byte, error) {
	var bodies [][]byte
	size := 0
	for more := true; more && s.failed == nil && len(bodies) < max && size < requestBytes; {
		if s.owed == 0 && len(bodies) > 0 {
			break
		}
		var body []byte
		body, more, s.failed = s.one(ctx, after+1+uint64(len(bodies)), max)
		if s.failed == nil {
			bodies = append(bodies, body)
			size += len(body)
		}
	}
	if len(bodies) > 0 {
		return bodies, nil
	}
	return nil, s.failed
}

// one waits for the event at a position, and tells whether more are at hand.
func (s *session) one(ctx context.Context, want uint64, max int) (body []byte, more bool, err error) {
	for {
		if s.owed == 0 {
			if err := s.ask(max); err != nil {
				return nil, false, err
			}
		}
		msg, err := s.receive()
		if err != nil {
			return nil, false, err
		}
		if msg == nil {
			if err := s.log.lost(ctx, want); err != nil {
				return nil, false, err
			}
			continue
		}
		position, waiting, err := placeOf(msg.Reply)
		switch {
		case err != nil:
			return nil, false, err
		case position < want:
			continue // a replica that lags behind began before the start
		case position > want:
			return nil, false, s.log.missing(ctx, want, position)
		}
		return msg.Data, waiting > 0, nil
	}
}

// lost tells that an embedded log had an event and has it no more: its server, when it meets
// damage, cuts that off with all behind it, and goes on as if the log ended there.
func (l *Log) lost(ctx context.Context, want uint64) error {
	if l.server == nil || want > l.known.Load() {
		return nil
	}
	_, err := l.Body(ctx, want)
	if errors.Is(err, ErrNotFound) {
		return &finalError{fmt.Errorf("%w: %d was in the log and is missing", events.ErrGap, want)}
	}
	return nil
}

// missing tells a gap in the log from an event that was lost on its way to us.
func (l *Log) missing(ctx context.Context, want, got uint64) error {
	_, err := l.bodyForCertain(ctx, want)
	switch {
	case errors.Is(err, ErrNotFound):
		return &finalError{fmt.Errorf("%w: %d comes before %d", events.ErrGap, want, got)}
	case err != nil:
		return err
	}
	return fmt.Errorf("event %d was lost on its way", want)
}

// ask asks for the next events. The server sends what it has and then what comes.
func (s *session) ask(max int) error {
	request := jsonOf(server.JSApiConsumerGetNextRequest{
		Batch:     max,
		Expires:   requestTime,
		MaxBytes:  requestBytes,
		Heartbeat: s.log.opts.Heartbeat,
	})
	s.owed = max
	subject := "$JS.API.CONSUMER.MSG.NEXT." + streamName + "." + s.consumer
	return s.log.conn.PublishRequest(subject, s.sub.Subject, []byte(request))
}

// receive waits for an event; nil is a sign of life, or the end of the request.
func (s *session) receive() (*nats.Msg, error) {
	msg, err := s.sub.NextMsg(2*s.log.opts.Heartbeat + time.Second)
	if err != nil {
		return nil, err
	}
	if len(msg.Data) > 0 {
		s.owed--
		return msg, nil
	}
	status, what := msg.Header.Get("Status"), msg.Header.Get("Description")
	switch {
	case status == "100", what == "Batch Completed": // counted in owed already
		return nil, nil
	case status == "404", status == "408", what == "Message Size Exceeds MaxBytes":
		s.owed = 0
		return nil, nil
	}
	return nil, fmt.Errorf("the consumer says %s %s", status, what)
}

// placeOf reads an event's position, and how many are waiting behind it, from the
// subject that a consumer's message carries for its acknowledgement.
func placeOf(reply string) (position, waiting uint64, err error) {
	// $JS.ACK.<stream>.<consumer>.<delivered>.<position>.<sequence>.<time>.<waiting>,
	// and two parts more before the stream, and perhaps one behind, in its newer form.
	parts := strings.Split(reply, ".")
	at := 2
	if len(parts) >= 11 {
		at = 4
	}
	if len(parts) < at+7 {
		return 0, 0, fmt.Errorf("not a consumer's message: %q", reply)
	}
	position, err = strconv.ParseUint(parts[at+3], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("not a consumer's message: %w", err)
	}
	waiting, err = strconv.ParseUint(parts[at+6], 10, 64)
	return position, waiting, err
}

// Package jetstream keeps the events in a NATS JetStream stream: on a server inside
// this process, with every write synced, or on a cluster outside.
//
// A cluster's servers must have `sync_interval: always` in their jetstream block.
// Without it a power cut loses acknowledged events, on all replicas alike, and no
// client can see the setting from outside.
package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"truebond/events"
)

// Options say where the log is. The zero value of a time-out means its default.
type Options struct {
	Dir      string // data folder; the embedded server has Dir/log. Ignored with URL
	URL      string // an outside cluster; empty: a server inside this process
	Replicas int    // of the stream at URL, 3 by default; an embedded log has 1
	Existing bool   // fail when there is no stream, and make none
	Codec    *events.Codec
	Logger   *slog.Logger // nil: silent

	Durable uint64 // an embedded log had this event on disk for certain: what is damaged up to it was not left by a crash
	Damaged bool   // open an embedded log although it is, and lose nothing but what is damaged; it changes its files

	OpenTimeout   time.Duration // for the server and the stream to be there; 30 s
	AppendTimeout time.Duration // for one try of an append to be acknowledged; 5 s
	ReadTimeout   time.Duration // for a read to be answered, with its retries; 10 s
	Heartbeat     time.Duration // how often a followed log gives a sign of life; 5 s, 10 s at most
}

// What a log can answer beside events.ErrBeaten and events.ErrGap.
var (
	// ErrUnknown says that nobody can tell yet whether an append is in the log, or
	// will be. Append the same records at the same position again to find out.
	ErrUnknown = errors.New("whether the events are in the log is not known")

	// ErrNotFound says that the log has no event at a position.
	ErrNotFound = errors.New("the log has no event at this position")

	// ErrOther says that an event is not the one that was at its position.
	ErrOther = errors.New("this is another log, or it was changed")

	// ErrClosed says that Close was called.
	ErrClosed = errors.New("the log is closed")
)

// A Log is the one sequence of events. Its methods may be called at the same time.
type Log struct {
	codec  *events.Codec
	logger *slog.Logger
	server *embedded // nil with URL
	conn   *nats.Conn
	opts   Options
	there  bool // the stream is, as its servers have said; nobody changes it once the log is open

	appending sync.Mutex // one append at a time: pipelined ones get round the fence
	draft     draft      // guarded by appending
	staging   staging
	tail      *tail         // stays empty with URL
	known     atomic.Uint64 // the log has had this event, as its servers have said
	sure      atomic.Uint64 // an embedded log has had this event on disk for certain

	life context.Context // ends with Close
	end  context.CancelCauseFunc
	link atomic.Pointer[link]
}

// A link is the time from one loss of the connection to the next. What was asked
// before a loss is not waited for after it.
type link struct {
	context.Context
	cut context.CancelFunc
}

func newLink() *link {
	ctx, cut := context.WithCancel(context.Background())
	return &link{ctx, cut}
}

// Open starts the embedded server or connects to the one at URL, and makes the stream
// if there is none and may be. It fails when another process holds the folder, or when the stream
// has other settings than the log needs; the error names them.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.Codec == nil {
		return nil, errors.New("open the log: no codec")
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.OpenTimeout = cmp.Or(o.OpenTimeout, 30*time.Second)
	o.AppendTimeout = cmp.Or(o.AppendTimeout, 5*time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 10*time.Second)
	o.Heartbeat = min(cmp.Or(o.Heartbeat, 5*time.Second), requestTime/3)
	o.Replicas = cmp.Or(o.Replicas, 3)
	if o.URL == "" {
		o.Replicas = 1
	}
	l := &Log{codec: o.Codec, logger: o.Logger, opts: o, tail: newTail()}
	l.staging.bell = make(chan struct{}, 1)
	l.life, l.end = context.WithCancelCause(context.Background())
	l.link.Store(newLink())
	ctx, cancel := context.WithTimeout(ctx, o.OpenTimeout)
	defer cancel()
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the log: %w", err), l.Close())
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	var err error
	if l.opts.URL == "" {
		if l.server, err = startEmbedded(ctx, l.opts, l.logger); err != nil {
			return err
		}
	}
	if l.conn, err = l.connect(ctx); err != nil {
		return err
	}
	// Else the first event that is larger would be tried for ever, and all others behind it.
	if most := l.conn.MaxPayload(); most < payloadMin {
		return fmt.Errorf("the servers carry %d bytes in a message (max_payload), and the log needs %d", most, payloadMin)
	}
	if err := l.ensureStream(ctx); err != nil {
		return err
	}
	if l.server != nil {
		l.assemble()
	}
	go l.sendAhead()
	return nil
}

// assemble has batches put together in memory, if that is possible.
func (l *Log) assemble() {
	if err := l.server.assembly.place(); err != nil {
		l.logger.Debug("log: batches are put together on the disk, which takes longer", "error", err)
	}
}

// connect joins the server. A lost connection is made again for ever, and what is
// published meanwhile fails at once: Append decides when to send again, not a buffer.
func (l *Log) connect(ctx context.Context) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("truebond log"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(time.Second), // a server that is frozen or cut off is left after two of these
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			l.link.Swap(newLink()).cut()
			if err != nil {
				l.logger.Warn("log: connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			l.logger.Info("log: connected again", "server", c.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			l.logger.Warn("log: connection", "error", err)
		}),
	}
	url := l.opts.URL
	if l.server != nil {
		url = ""
		options = append(options, nats.InProcessServer(l.server.nats))
	}
	for pause := newPause(); ; {
		conn, err := nats.Connect(url, options...)
		if err == nil {
			return conn, nil
		}
		if !pause.wait(ctx) {
			return nil, fmt.Errorf("connect to %s: %w", withoutSecrets(url), err)
		}
	}
}

// withoutSecrets is a list of server addresses without user names, passwords or tokens.
func withoutSecrets(urls string) string {
	list := strings.Split(urls, ",")
	for i, url := range list {
		scheme, rest, found := strings.Cut(url, "://")
		if !found {
			scheme, rest = "nats", url
		}
		list[i] = scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
	}
	return strings.Join(list, ",")
}

// Last is the position of the last event; 0 when there is none.
func (l *Log) Last(ctx context.Context) (uint64, error) {
	state, err := l.state(ctx)
	return state.LastSeq, err
}

// Known is the position of an event that the log has had, as this process has heard: that of
// the last one while it alone appends. It asks nobody.
func (l *Log) Known() uint64 { return l.known.Load() }

// Ping fails when the log can be neither read nor written.
func (l *Log) Ping(ctx context.Context) error {
	if err := l.healthy(ctx); err != nil {
		return err
	}
	_, err := l.state(ctx)
	return err
}

// healthy fails when the embedded server could not write or sync the log. It refuses
// to go on then until it is started again.
func (l *Log) healthy(ctx context.Context) error {
	if l.server == nil {
		return nil // a cluster's server steps down, and another one takes over
	}
	told := make(chan error, 1)
	go func() { told <- l.server.healthy() }() // it waits for a disk that hangs
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends all that is under way (a pending Append answers ErrUnknown), stops the
// embedded server when it has written everything, and frees the folder.
func (l *Log) Close() error {
	l.end(ErrClosed)
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
	return l.server.stop()
}

// within is a context that ends with ctx or with the log, whichever is first.
func (l *Log) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.life, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

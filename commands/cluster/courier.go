package cluster

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	subject = "truebond.leader." // and the id of who it is for

	// askedMax is how old a request may be by the wall clock. Longer, and what somebody
	// has overheard could be sent again for longer.
	askedMax = 30 * time.Second
	// underWayMax is how many requests are served at once for others; as many as one
	// server takes from its own clients.
	underWayMax = 4096
	partsMax    = 1024 // of one answer that wait to be taken

	endMax   = 5 * time.Second // in which an answer's end is tried to be sent
	endPause = 100 * time.Millisecond
	// wonderEvery is how often somebody who waits as long as it takes asks whether that is in vain:
	// an answer's end may be lost with a connection, his own or one between the servers.
	wonderEvery = 10 * time.Second

	drainMax  = time.Second // for the servers to know that a member listens no more
	drainLook = 5 * time.Millisecond

	nonceBytes = chacha20poly1305.NonceSizeX // long enough to be random, however many there are
)

// Why a request was not answered.
var (
	// ErrNotDelivered says that nobody has the request: it may be sent again.
	ErrNotDelivered = errors.New("the request was not delivered")
	// ErrTooLarge says that the servers would not carry the request.
	ErrTooLarge = errors.New("the request is larger than the servers carry")
	// ErrClocksDiffer says that the other's clock differs from ours by more than a request may be
	// old. Nothing was done.
	ErrClocksDiffer = errors.New("the clocks of two servers differ too much")
	// ErrNoAnswer says that nobody knows what became of the request.
	ErrNoAnswer = errors.New("the request was not answered")
)

// A Courier carries requests to the leader and answers back. Both are sealed with a key
// that the members share: they hold passwords, tokens and messages, which the servers and
// whoever listens there must not read, and whoever else can publish is not listened to.
type Courier struct {
	conn   *nats.Conn
	aead   cipher.AEAD
	logger *slog.Logger
	now    func() time.Time // by the wall clock
	wonder time.Duration    // wonderEvery, but for tests
	inbox  string
	sub    *nats.Subscription // to what comes there
	places chan struct{}

	mu      sync.Mutex
	waiting map[string]chan *nats.Msg
	serving map[string]context.CancelCauseFunc // for others, by where the answer goes
	heard   map[[nonceBytes]byte]time.Time     // requests that were served, as long as they could come again
	swept   time.Time
}

// NewCourier makes a courier whose key is derived from what the members share. It hears answers until
// the connection ends.
func NewCourier(conn *nats.Conn, shared string, logger *slog.Logger) (*Courier, error) {
	derived := hmac.New(sha256.New, []byte(shared))
	derived.Write([]byte("truebond/courier/sealed"))
	aead, err := chacha20poly1305.NewX(derived.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("make the courier's key: %w", err)
	}
	c := &Courier{
		conn: conn, aead: aead, logger: logger, now: time.Now, wonder: wonderEvery, inbox: nats.NewInbox(),
		places: make(chan struct{}, underWayMax), waiting: map[string]chan *nats.Msg{},
		serving: map[string]context.CancelCauseFunc{}, heard: map[[nonceBytes]byte]time.Time{},
	}
	if c.sub, err = conn.Subscribe(c.inbox+".*", c.receive); err != nil {
		return nil, fmt.Errorf("listen for answers: %w", err)
	}
	return c, c.sub.SetPendingLimits(-1, -1)
}

// receive hands an answer's part to who waits for it. One that nobody waits for is late.
func (c *Courier) receive(msg *nats.Msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if parts := c.waiting[msg.Subject]; parts != nil {
		select {
		case parts <- msg:
		default: // the client is too slow for its answer; that a part lacks is noticed
		}
	}
}

// Ask sends a request to a member and gives the parts of its answer, until the last.
// Errors: ErrNotDelivered, ErrTooLarge, ErrClocksDiffer, ErrNoAnswer (also when ctx ends first),
// or what part returns.
func (c *Courier) Ask(ctx context.Context, member string, request []byte, part func([]byte) error) error {
	reply := c.inbox + "." + nuid.Next()
	to := subject + member
	asked := make([]byte, askHead, askHead+len(request))
	binary.BigEndian.PutUint64(asked, uint64(c.now().UnixMilli()))
	frame := c.seal("ask", to, reply, append(asked, request...))
	if int64(len(frame)) > c.conn.MaxPayload() {
		return ErrTooLarge
	}
	parts := make(chan *nats.Msg, partsMax)
	c.mu.Lock()
	c.waiting[reply] = parts
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, reply)
		c.mu.Unlock()
	}()
	if err := c.conn.PublishRequest(to, reply, frame); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDelivered, err)
	}
	var wonder <-chan time.Time
	if _, bounded := ctx.Deadline(); !bounded {
		ticker := time.NewTicker(c.wonder)
		defer ticker.Stop()
		wonder = ticker.C
	}
	wondered := false
	for number := uint32(0); ; {
		select {
		case <-ctx.Done():
			c.leave(to, reply)
			return fmt.Errorf("%w: %w", ErrNoAnswer, context.Cause(ctx))
		case <-wonder:
			wondered = true
			c.about("still", to, reply)
		case msg := <-parts:
			if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" { // nobody listens there
				if number == 0 && !wondered {
					return ErrNotDelivered
				}
				continue // any more; what was taken before that is answered
			}
			last, body, err := c.openPart(reply, number, msg.Data)
			if err != nil {
				c.leave(to, reply)
				return err
			}
			number++
			if err := part(body); err != nil {
				c.leave(to, reply)
				return err
			}
			if last {
				return nil
			}
		}
	}
}

// leave tells a member that nobody waits for its answer any more.
func (c *Courier) leave(to, reply string) { c.about("left", to, reply) }

// about tells a member something about a request that it has. It may not get there.
func (c *Courier) about(what, to, reply string) {
	_ = c.conn.PublishRequest(to, reply, c.seal(what, to, reply, nil))
}

// isAbout does what a message says that is about an earlier request. One that nobody waits for is
// ended; who waits in vain is told so.
func (c *Courier) isAbout(msg *nats.Msg) bool {
	if len(msg.Data) != nonceBytes+c.aead.Overhead() { // a request has more
		return false
	}
	if _, ok := c.open("left", msg.Subject, msg.Reply, msg.Data); ok {
		c.served(msg.Reply)
		return true
	}
	if _, ok := c.open("still", msg.Subject, msg.Reply, msg.Data); !ok {
		return false
	}
	c.mu.Lock()
	_, serves := c.serving[msg.Reply]
	c.mu.Unlock()
	if !serves {
		_ = c.answer(msg.Reply, 0, brokenOff, nil)
	}
	return true
}

// served lets go of a request.
func (c *Courier) served(reply string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.serving[reply]; cancel != nil {
		cancel(errLeft)
		delete(c.serving, reply)
	}
}

// A request is when it was asked, and its content. An answer's part is its number, what
// comes behind it, and its content.
const (
	moreParts = 0
	lastPart  = 1
	brokenOff = 2
	notServed = 3
	notOfNow  = 4
	askHead   = 8
	partHead  = 4 + 1
)

func (c *Courier) openPart(reply string, number uint32, frame []byte) (last bool, body []byte, err error) {
	part, ok := c.open("answer", "", reply, frame)
	if !ok || len(part) < partHead {
		return false, nil, fmt.Errorf("%w: somebody else answered", ErrNoAnswer)
	}
	if got := binary.BigEndian.Uint32(part); got != number {
		return false, nil, fmt.Errorf("%w: part %d of the answer came in place of %d", ErrNoAnswer, got, number)
	}
	switch part[partHead-1] {
	case brokenOff:
		return false, nil, fmt.Errorf("%w: it was broken off", ErrNoAnswer)
	case notServed:
		return false, nil, fmt.Errorf("%w: too many are under way", ErrNotDelivered)
	case notOfNow:
		return false, nil, ErrClocksDiffer
	}
	return part[partHead-1] == lastPart, part[partHead:], nil
}

// seal makes what is said unreadable, and binds it to whom it is for and where the answer goes.
func (c *Courier) seal(what, to, reply string, said []byte) (frame []byte) {
	frame = make([]byte, nonceBytes, nonceBytes+len(said)+c.aead.Overhead())
	_, _ = rand.Read(frame) // never fails (crypto/rand)
	return c.aead.Seal(frame, frame, said, route(what, to, reply))
}

// open reads what a member has sealed, and nothing else.
func (c *Courier) open(what, to, reply string, frame []byte) (said []byte, ok bool) {
	if len(frame) < nonceBytes {
		return nil, false
	}
	said, err := c.aead.Open(nil, frame[:nonceBytes], frame[nonceBytes:], route(what, to, reply))
	return said, err == nil
}

func route(what, to, reply string) []byte { return []byte(what + "\x00" + to + "\x00" + reply) }

// Serve answers a request: what is sent goes on its way at once, and last ends it. A part
// must fit into one message: servers take 1 MiB by default.
type Serve func(ctx context.Context, request []byte, send func(part []byte) error) (last []byte, err error)

// Listen serves what others send to a member, each request once, until stop is called,
// which returns when those under way are answered. They are broken off when ctx ends, and when nobody
// waits for the answer any more.
func (c *Courier) Listen(ctx context.Context, member string, serve Serve) (stop func(), err error) {
	var underWay sync.WaitGroup
	sub, err := c.conn.Subscribe(subject+member, func(msg *nats.Msg) {
		if c.isAbout(msg) {
			return
		}
		request, err := c.openRequest(msg)
		if err != nil {
			c.logger.Warn("cluster: a request was not served", "error", err)
			if errors.Is(err, ErrClocksDiffer) {
				_ = c.answer(msg.Reply, 0, notOfNow, nil) // without it, its sender waits
			}
			return
		}
		select {
		case c.places <- struct{}{}:
		default:
			_ = c.answer(msg.Reply, 0, notServed, nil) // without it, its sender waits
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		c.mu.Lock()
		c.serving[msg.Reply] = cancel
		c.mu.Unlock()
		underWay.Go(func() {
			defer func() { <-c.places }()
			defer c.served(msg.Reply)
			c.serve(ctx, msg.Reply, request, serve)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listen for requests: %w", err)
	}
	if err := c.conn.Flush(); err != nil {
		c.logger.WarnContext(ctx, "cluster: the servers do not know yet that requests are served", "error", err)
	}
	return func() {
		c.drain(sub)
		underWay.Wait()
	}, nil
}

// drain takes what was sent before the servers knew that no more is wanted.
func (c *Courier) drain(sub *nats.Subscription) {
	if sub.Drain() != nil {
		_ = sub.Unsubscribe() // the connection is away, and with it whatever was sent
		return
	}
	for end := time.Now().Add(drainMax); sub.IsValid() && time.Now().Before(end); {
		time.Sleep(drainLook)
	}
}

func (c *Courier) serve(ctx context.Context, reply string, request []byte, serve Serve) {
	number := uint32(0)
	last, err := serve(ctx, request, func(part []byte) error {
		number++
		return c.answer(reply, number-1, moreParts, part)
	})
	cut := context.Cause(ctx)
	if errors.Is(cut, errLeft) {
		return
	}
	state := byte(lastPart)
	if err == nil {
		err = cut // what came of it then is not to be believed
	}
	if err != nil {
		state, last = brokenOff, nil
	}
	if err := errors.Join(err, c.end(reply, number, state, last)); err != nil {
		c.logger.WarnContext(ctx, "cluster: a request was not answered", "error", err)
	}
}

// end sends an answer's last part. One that has others before it is sent until the servers have it:
// somebody may wait for it as long as it takes.
func (c *Courier) end(reply string, number uint32, state byte, part []byte) error {
	for until := time.Now().Add(endMax); ; time.Sleep(endPause) {
		err := c.answer(reply, number, state, part)
		if err == nil && number > 0 {
			err = c.conn.FlushTimeout(time.Second)
		}
		if err == nil || errors.Is(err, nats.ErrMaxPayload) || c.conn.IsClosed() || time.Now().After(until) {
			return err
		}
	}
}

func (c *Courier) answer(reply string, number uint32, state byte, part []byte) error {
	said := make([]byte, partHead, partHead+len(part))
	binary.BigEndian.PutUint32(said, number)
	said[partHead-1] = state
	return c.conn.Publish(reply, c.seal("answer", "", reply, append(said, part...)))
}

var (
	errLeft      = errors.New("nobody waits for the answer any more")
	errNoMembers = errors.New("it is no member's")
	errAgain     = errors.New("it was served already")
)

// openRequest believes a request that a member has sealed a moment ago, the first time.
func (c *Courier) openRequest(msg *nats.Msg) ([]byte, error) {
	asked, ok := c.open("ask", msg.Subject, msg.Reply, msg.Data)
	if !ok || len(asked) < askHead || !strings.HasPrefix(msg.Reply, "_INBOX.") {
		return nil, errNoMembers
	}
	now := c.now()
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(asked)))
	if age := now.Sub(at); age > askedMax || age < -askedMax {
		return nil, fmt.Errorf("%w: it was asked %v ago", ErrClocksDiffer, age.Round(time.Second))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.swept) > askedMax {
		for nonce, forget := range c.heard {
			if now.After(forget) {
				delete(c.heard, nonce)
			}
		}
		c.swept = now
	}
	nonce := [nonceBytes]byte(msg.Data)
	if _, again := c.heard[nonce]; again {
		return nil, errAgain
	}
	c.heard[nonce] = now.Add(2 * askedMax)
	return asked[askHead:], nil
}

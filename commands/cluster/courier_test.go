package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"truebond/events/jetstream/natstest"
)

func courier(t *testing.T, conn *nats.Conn, secret string) *Courier {
	t.Helper()
	c, err := NewCourier(conn, secret, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func listens(t *testing.T, c *Courier, serve Serve) (stop func()) {
	t.Helper()
	stop, err := c.Listen(t.Context(), "leader", serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return stop
}

func collect(into *[]string) func([]byte) error {
	return func(part []byte) error {
		*into = append(*into, string(part))
		return nil
	}
}

func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestARequestIsAnsweredInItsParts(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	stop := listens(t, there, func(_ context.Context, request []byte, send func([]byte) error) ([]byte, error) {
		if string(request) == "break" {
			return nil, errors.New("broken")
		}
		return []byte("c"), errors.Join(send([]byte("a "+string(request))), send([]byte("b")))
	})
	var parts []string
	if err := here.Ask(bounded(t, time.Minute), "leader", []byte("hello"), collect(&parts)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(parts, "|"); got != "a hello|b|c" {
		t.Errorf("the answer is %q", got)
	}
	err := here.Ask(bounded(t, time.Minute), "leader", []byte("break"), collect(&parts))
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a broken answer is %v", err)
	}
	if err := here.Ask(t.Context(), "leader", make([]byte, 1<<20), collect(&parts)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large a request is %v", err)
	}
	stop()
	if err := here.Ask(bounded(t, time.Minute), "leader", []byte("x"), collect(&parts)); !errors.Is(err, ErrNotDelivered) {
		t.Errorf("a request that nobody takes is %v", err)
	}
}

// Else what was begun for somebody who has gone would go on, and be in the way of the next one.
func TestARequestEndsWhenNobodyWaitsForItsAnswer(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	begun, ended := make(chan struct{}), make(chan error)
	listens(t, there, func(ctx context.Context, _ []byte, send func([]byte) error) ([]byte, error) {
		if err := send([]byte("begun")); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	gone := errors.New("the client has gone")
	for what, ask := range map[string]func(context.Context) error{
		"who leaves": func(ctx context.Context) error {
			ctx, leave := context.WithCancelCause(ctx)
			go func() {
				<-begun
				leave(gone)
			}()
			return here.Ask(ctx, "leader", []byte("x"), func([]byte) error { begun <- struct{}{}; return nil })
		},
		"who takes no more": func(ctx context.Context) error {
			return here.Ask(ctx, "leader", []byte("x"), func([]byte) error { return gone })
		},
	} {
		if err := ask(t.Context()); !errors.Is(err, gone) {
			t.Errorf("%s is told %v", what, err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("for %s it goes on", what)
		}
	}
}

func TestARequestIsNotEndedByWhoIsNoMember(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	outsider := courier(t, connect(t, url), "another secret")
	heard, err := outsider.conn.SubscribeSync(subject + "leader")
	if err == nil {
		err = outsider.conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	asked, next := make(chan context.Context), make(chan struct{})
	listens(t, there, func(ctx context.Context, request []byte, _ func([]byte) error) ([]byte, error) {
		if string(request) == "first" {
			asked <- ctx
			<-next
		}
		return nil, nil
	})
	ask := func(what string) error {
		return here.Ask(bounded(t, time.Minute), "leader", []byte(what), func([]byte) error { return nil })
	}
	first := make(chan error, 1)
	go func() { first <- ask("first") }()
	msg, err := heard.NextMsg(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	underWay := <-asked
	outsider.leave(msg.Subject, msg.Reply)
	// What comes behind that is taken behind it.
	if err := errors.Join(outsider.conn.Flush(), ask("second")); err != nil {
		t.Fatal(err)
	}
	if underWay.Err() != nil {
		t.Error("it is ended")
	}
	close(next)
	if err := <-first; err != nil {
		t.Errorf("who asked is told %v", err)
	}
}

// Who asks may wait as long as it takes, and would do so for ever.
func TestAnAnswerWhoseEndIsLostWithAConnectionIsBroken(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	for what, lose := range map[string]func(here, there *natstest.Proxy){
		"the one who asks":    func(here, _ *natstest.Proxy) { here.Cut() },
		"the one who answers": func(_, there *natstest.Proxy) { there.Cut() },
	} {
		t.Run(what, func(t *testing.T) {
			toHere, toThere := natstest.NewProxy(t, url), natstest.NewProxy(t, url)
			here, there := courier(t, connect(t, toHere.URL()), "s"), courier(t, connect(t, toThere.URL()), "s")
			here.quiet = 500 * time.Millisecond
			begun := make(chan struct{})
			begins := sync.OnceFunc(func() { close(begun) })
			listens(t, there, func(_ context.Context, _ []byte, send func([]byte) error) ([]byte, error) {
				if err := send([]byte("begun")); err != nil {
					return nil, err
				}
				<-begun
				for !wasCut(here.conn) && !wasCut(there.conn) {
					time.Sleep(time.Millisecond)
				}
				return nil, errors.Join(send([]byte("more")), errors.New("it cannot go on"))
			})
			told := make(chan error, 1)
			go func() {
				told <- here.Ask(t.Context(), "leader", []byte("x"), func([]byte) error { begins(); return nil })
			}()
			<-begun
			lose(toHere, toThere)
			select {
			case err := <-told:
				if !errors.Is(err, ErrNoAnswer) {
					t.Errorf("it is told %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("it is told nothing")
			}
		})
	}
}

// wasCut is true also when nobody has looked while it was.
func wasCut(conn *nats.Conn) bool { return !conn.IsConnected() || conn.Stats().Reconnects > 0 }

// Whoever can publish to the servers can still not ask, answer, or ask again.
func TestOnlyMembersAreListenedTo(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	conn := connect(t, url)
	member, stranger := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "another")
	var served atomic.Int64
	listens(t, member, func(context.Context, []byte, func([]byte) error) ([]byte, error) {
		served.Add(1)
		return []byte("done"), nil
	})
	var parts []string
	quiet := 300 * time.Millisecond
	if err := stranger.Ask(bounded(t, quiet), "leader", []byte("x"), collect(&parts)); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a stranger was answered: %v", err)
	}
	// What a member asked is heard by all, and sent again, changed, late, or to elsewhere.
	heard, err := conn.SubscribeSync(subject + ">")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	other := courier(t, connect(t, url), "s")
	if err := other.Ask(bounded(t, time.Minute), "leader", []byte("pay"), collect(&parts)); err != nil {
		t.Fatal(err)
	}
	msg, err := heard.NextMsg(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	before := served.Load()
	changed := bytes.Clone(msg.Data)
	changed[len(changed)-1] ^= 1
	late := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(-2*askedMax).UnixMilli()))
	old := other.seal("ask", msg.Subject, msg.Reply, append(late, "pay"...))
	for what, again := range map[string]*nats.Msg{
		"the same again":      {Subject: msg.Subject, Reply: msg.Reply, Data: msg.Data},
		"with another text":   {Subject: msg.Subject, Reply: msg.Reply, Data: changed},
		"to be answered away": {Subject: msg.Subject, Reply: "_INBOX.thief", Data: msg.Data},
		"an old one":          {Subject: msg.Subject, Reply: msg.Reply, Data: old},
		"nothing":             {Subject: msg.Subject, Reply: msg.Reply},
	} {
		if err := conn.PublishMsg(again); err != nil {
			t.Fatal(err)
		}
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(quiet / 3)
		if served.Load() != before {
			t.Fatalf("%s was served", what)
		}
	}
}

// Who is not believed for the clock's sake is told so at once, and not left waiting.
func TestWhoseClockDiffersIsTold(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	listens(t, there, func(context.Context, []byte, func([]byte) error) ([]byte, error) {
		t.Error("it was served")
		return nil, nil
	})
	for _, off := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		here.now = func() time.Time { return time.Now().Add(off) }
		if err := here.Ask(bounded(t, time.Minute), "leader", []byte("x"), nil); !errors.Is(err, ErrClocksDiffer) {
			t.Errorf("%v off: %v", off, err)
		}
	}
}

// Requests hold passwords and tokens, and answers too.
func TestNobodyElseReadsWhatMembersSay(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	stranger := connect(t, url)
	heard, err := stranger.SubscribeSync(">")
	if err == nil {
		err = stranger.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	listens(t, there, func(context.Context, []byte, func([]byte) error) ([]byte, error) {
		return []byte("the planted answer"), nil
	})
	var parts []string
	if err := here.Ask(bounded(t, time.Minute), "leader", []byte("the planted password"), collect(&parts)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		msg, err := heard.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(msg.Data, []byte("planted")) {
			t.Errorf("on %s everybody hears %q", msg.Subject, msg.Data)
		}
	}
}

func TestAnAnswerThatIsNoMembersIsNotBelieved(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	conn := connect(t, url)
	_, err := conn.Subscribe(subject+"leader", func(msg *nats.Msg) {
		_ = msg.Respond(append(make([]byte, nonceBytes+partHead-1), append([]byte{lastPart}, "you are rich"...)...))
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	err = courier(t, connect(t, url), "s").Ask(bounded(t, time.Minute), "leader", []byte("x"), collect(&parts))
	if !errors.Is(err, ErrNoAnswer) || len(parts) > 0 {
		t.Errorf("a forged answer gave %v and %v", parts, err)
	}
}

func TestWhoStopsAnswersWhatItHasTaken(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	taken, finish := make(chan struct{}), make(chan struct{})
	stop := listens(t, there, func(context.Context, []byte, func([]byte) error) ([]byte, error) {
		close(taken)
		<-finish
		return []byte("done"), nil
	})
	answered := make(chan error, 1)
	var parts []string
	ctx := bounded(t, time.Minute)
	go func() { answered <- here.Ask(ctx, "leader", []byte("x"), collect(&parts)) }()
	<-taken
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	stop()
	if err := <-answered; err != nil || fmt.Sprint(parts) != "[done]" {
		t.Errorf("it was answered %v, %v", parts, err)
	}
}

// It may say anything then, and must not be believed.
func TestWhoIsCutOffFromItsTermBreaksOffWhatItHasTaken(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	term, cut := context.WithCancel(t.Context())
	taken := make(chan struct{})
	stop, err := there.Listen(term, "leader", func(ctx context.Context, _ []byte, _ func([]byte) error) ([]byte, error) {
		close(taken)
		<-ctx.Done()
		return []byte("HTTP 500"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	var parts []string
	go func() { answer <- here.Ask(bounded(t, time.Minute), "leader", []byte("x"), collect(&parts)) }()
	<-taken
	cut()
	stop()
	if err := <-answer; !errors.Is(err, ErrNoAnswer) || len(parts) > 0 {
		t.Errorf("who asked is told %q and %v", parts, err)
	}
}

package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

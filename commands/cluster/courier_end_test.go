package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"truebond/events/jetstream/natstest"
)

// Ends of requests and of answers, of which the other does not learn by itself.

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
			here.wonder = 100 * time.Millisecond
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

// As when a connection between two of the servers is lost, of which no member learns.
func TestAnAnswerWhoseEndIsLostBetweenTheServersIsBroken(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	here, there := courier(t, connect(t, url), "s"), courier(t, connect(t, url), "s")
	here.wonder = 100 * time.Millisecond
	lost := make(chan struct{})
	listens(t, there, func(_ context.Context, _ []byte, send func([]byte) error) ([]byte, error) {
		err := send([]byte("begun"))
		<-lost
		return []byte("the end"), err
	})
	told := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		told <- here.Ask(t.Context(), "leader", []byte("x"), func([]byte) error { close(begun); return nil })
	}()
	<-begun
	if err := errors.Join(here.sub.Unsubscribe(), here.conn.Flush()); err != nil {
		t.Fatal(err)
	}
	close(lost)
	await(t, "the other has answered", func() bool {
		there.mu.Lock()
		defer there.mu.Unlock()
		return len(there.serving) == 0
	})
	again, err := here.conn.Subscribe(here.inbox+".*", here.receive)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Unsubscribe() //nolint:errcheck // it goes with its connection
	if err := <-told; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("it is told %v", err)
	}
}

// What takes long says nothing for a while; and who stops listening still answers what he has.
func TestWhoWondersDoesNotEndWhatTakesLong(t *testing.T) {
	url := natstest.Server(t, t.TempDir()).ClientURL()
	proxy := natstest.NewProxy(t, url)
	here, there := courier(t, connect(t, proxy.URL()), "s"), courier(t, connect(t, url), "s")
	here.wonder = 50 * time.Millisecond
	begun, end := make(chan struct{}), make(chan struct{})
	stop := sync.OnceFunc(listens(t, there, func(context.Context, []byte, func([]byte) error) ([]byte, error) {
		close(begun)
		<-end
		return []byte("the end"), nil
	}))
	var parts []string
	told := make(chan error, 1)
	go func() { told <- here.Ask(t.Context(), "leader", []byte("x"), collect(&parts)) }()
	<-begun
	proxy.Cut()
	await(t, "the connection is there again", func() bool { return here.conn.Stats().Reconnects > 0 })
	time.Sleep(4 * here.wonder)
	go stop()
	time.Sleep(4 * here.wonder)
	close(end)
	if err := <-told; err != nil || len(parts) != 1 || parts[0] != "the end" {
		t.Errorf("it is told %q and %v", parts, err)
	}
}

// wasCut is true also when nobody has looked while it was.
func wasCut(conn *nats.Conn) bool { return !conn.IsConnected() || conn.Stats().Reconnects > 0 }

package askagain_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"truebond/events/askagain"
	"truebond/events/jetstream/natstest"
)

func connect(t *testing.T) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(natstest.Server(t, t.TempDir()).ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestWhoComesLateIsAskedAllTheSame(t *testing.T) {
	conn := connect(t)
	var asked atomic.Int64
	time.AfterFunc(2*askagain.Every+askagain.Every/2, func() {
		_, _ = conn.Subscribe("who", func(m *nats.Msg) { asked.Add(1); _ = m.Respond([]byte("I")) })
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*askagain.Every)
	defer cancel()
	began := time.Now()
	answer, err := askagain.Request(ctx, conn, nats.NewMsg("who"), nil)
	if err != nil || string(answer.Data) != "I" {
		t.Fatalf("it was answered %v: %v", answer, err)
	}
	if took := time.Since(began); took > 10*askagain.Every {
		t.Errorf("it took %v", took)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times more", n-1)
	}
}

func TestAnAnswerThatPassesIsNone(t *testing.T) {
	conn := connect(t)
	n := 0
	if _, err := conn.Subscribe("when", func(m *nats.Msg) {
		n++
		_ = m.Respond([]byte{byte(n)})
	}); err != nil {
		t.Fatal(err)
	}
	notYet := errors.New("not yet")
	answer, err := askagain.Request(t.Context(), conn, nats.NewMsg("when"), func(m *nats.Msg) error {
		if m.Data[0] < 3 {
			return notYet
		}
		return nil
	})
	if err != nil || answer.Data[0] != 3 {
		t.Errorf("it was answered %v: %v", answer, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), askagain.Every+askagain.Every/2)
	defer cancel()
	_, err = askagain.Request(ctx, conn, nats.NewMsg("when"), func(*nats.Msg) error { return notYet })
	if !errors.Is(err, notYet) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an answer that counts it says %v", err)
	}
}

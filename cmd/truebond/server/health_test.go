package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
	"truebond/events/jetstream/natstest"
	"truebond/events/merkle"
)

func TestAServerThatDoesNotLeadKnowsHowFarTheViewsAreBehind(t *testing.T) {
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	url := natstest.Server(t, t.TempDir()).ClientURL()
	open := func() *jetstream.Log {
		log, err := jetstream.Open(t.Context(), jetstream.Options{URL: url, Replicas: 1, Codec: codec})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		return log
	}
	leaders, log := open(), open()
	now := time.Now().UTC().Truncate(time.Millisecond)
	appends := func(position uint64) {
		t.Helper()
		e := events.Event{Position: position, Key: fmt.Sprint("k/", position), Time: now, Effective: now,
			Actor: events.System, Data: events.UserBlocked{}}
		body, err := codec.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := leaders.Append(t.Context(), position-1, []events.Record{{Event: e, Body: body}}); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := merkle.NewSigner(bytes.Repeat([]byte{1}, merkle.SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := checkpoints.Open(t.Context(), t.TempDir(), signer, log, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Log: log, tree: tree, writer: &writer.Seat{}, projector: newShown(log, nil, nil)}
	behind := func(want uint64) {
		t.Helper()
		if got := s.Behind(); got != want || s.last() != want {
			t.Errorf("the views are said to be %d behind, of %d, and are %d", got, s.last(), want)
		}
	}
	behind(0)

	appends(1)
	if _, err := log.Last(t.Context()); err != nil { // as the server does at its start, while its tree is built
		t.Fatal(err)
	}
	behind(1)

	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = tree.Run(ctx) })
	defer func() {
		stop()
		ended.Wait()
		_ = tree.Close()
	}()
	for _, position := range []uint64{1, 2, 3} { // from the second one on, as it comes
		if position > 1 {
			appends(position)
		}
		if err := tree.Await(ctx, position); err != nil {
			t.Fatal(err)
		}
	}
	behind(3)
}

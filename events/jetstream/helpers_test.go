package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"truebond/events"
	"truebond/events/jetstream/natstest"
)

// A writing is what one writer puts into a log: events that no other writer makes.
type writing struct {
	codec *events.Codec
	name  string
	made  int
}

func newWriting(t testing.TB, name string) *writing {
	t.Helper()
	return &writing{codec: newCodec(t), name: name}
}

func newCodec(t testing.TB) *events.Codec {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// next are new events for the positions behind after.
func (w *writing) next(t testing.TB, after uint64, count int) []events.Record {
	t.Helper()
	var records []events.Record
	for i := range count {
		w.made++
		records = append(records, w.event(t, after+1+uint64(i), fmt.Sprintf("%s/%d", w.name, w.made)))
	}
	return records
}

func (w *writing) event(t testing.TB, position uint64, key string) events.Record {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	e := events.Event{
		Position: position, Key: key, Time: now, Effective: now,
		Actor: events.Actor{Kind: events.ActorApp, ID: "key_1"}, Request: []byte("hmac"),
		Data: events.CreditsDeducted{User: "usr_1", Credits: 3, Reason: key, Available: 7},
		Moves: []events.Move{{
			From: events.LotOf("usr_1", "lot_1"), To: events.Spent(events.Paid, "other"),
			Asset: events.Credit, Amount: 3,
		}},
	}
	body, err := w.codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return events.Record{Event: e, Body: body}
}

// small are options for a test's log: short patience, everything said is kept.
func small(t testing.TB) (Options, *heard) {
	t.Helper()
	h := &heard{}
	return Options{
		Codec: newCodec(t), Logger: slog.New(h), Replicas: 1,
		AppendTimeout: 200 * time.Millisecond,
		ReadTimeout:   400 * time.Millisecond,
		Heartbeat:     200 * time.Millisecond,
	}, h
}

// patient are options for a log that must not be hurried.
func patient(t testing.TB) Options {
	t.Helper()
	return Options{Codec: newCodec(t)}
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, l) })
	return l
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// onOne is a log on a lone server, through a proxy, and the same log without it.
func onOne(t *testing.T) (far, near *Log, p *natstest.Proxy, h *heard) {
	t.Helper()
	t.Parallel() // it mostly waits
	s := natstest.Server(t, t.TempDir())
	p = natstest.NewProxy(t, s.ClientURL())
	o := patient(t)
	o.URL, o.Replicas = s.ClientURL(), 1
	near = open(t, o)
	o, h = small(t)
	o.URL = p.URL()
	return open(t, o), near, p, h
}

func appended(t testing.TB, l *Log, after uint64, records []events.Record) {
	t.Helper()
	if err := l.Append(t.Context(), after, records); err != nil {
		t.Fatal(err)
	}
}

// written is a log of appends with so many events each, which was closed in good order.
func written(t testing.TB, appends ...int) (o Options, all []events.Record) {
	t.Helper()
	o = patient(t)
	o.Dir = t.TempDir()
	l, w := open(t, o), newWriting(t, "a")
	for _, n := range appends {
		next := w.next(t, uint64(len(all)), n)
		appended(t, l, uint64(len(all)), next)
		all = append(all, next...)
	}
	closed(t, l)
	return o, all
}

func failsWith(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func mentions(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Fatalf("got %v, which does not mention %q", err, w)
		}
	}
}

// holds checks that a log is these records and nothing else.
func holds(t testing.TB, l *Log, want []events.Record) {
	t.Helper()
	got, err := l.ReadRange(t.Context(), 0, len(want)+1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

func same(t testing.TB, got, want []events.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Position != want[i].Position || string(got[i].Body) != string(want[i].Body) {
			t.Fatalf("event %d is %d %s, want %d %s",
				i, got[i].Position, got[i].Body, want[i].Position, want[i].Body)
		}
	}
}

var errEnough = errors.New("enough")

// until collects what is followed until there are count events.
func until(records *[]events.Record, count int) func([]events.Record) error {
	return func(some []events.Record) error {
		*records = append(*records, some...)
		if len(*records) >= count {
			return errEnough
		}
		return nil
	}
}

// shutDown stops the server that leads the stream, as a crash would for its clients.
func shutDown(t testing.TB, servers []*server.Server) {
	t.Helper()
	for _, s := range servers {
		if s.Running() && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, streamName) {
			s.Shutdown()
			s.WaitForShutdown()
			return
		}
	}
	t.Fatal("nobody leads the stream")
}

// heard is all that a log said.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) Enabled(context.Context, slog.Level) bool { return true }
func (h *heard) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *heard) WithGroup(string) slog.Handler            { return h }

func (h *heard) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, r.Message)
	return nil
}

// await waits until the log has said something.
func (h *heard) await(t testing.TB, words string) {
	t.Helper()
	for range 3000 {
		h.mu.Lock()
		said := strings.Contains(strings.Join(h.lines, "\n"), words)
		h.mu.Unlock()
		if said {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log never said %q", words)
}

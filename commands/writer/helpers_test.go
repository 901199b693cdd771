package writer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
	"truebond/ledger/ledgertest"
)

func newCodec(t testing.TB) *events.Codec {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// openLog is a real log in a folder, closed with the test.
func openLog(t testing.TB, dir string) *jetstream.Log {
	t.Helper()
	log, err := jetstream.Open(t.Context(), jetstream.Options{Dir: dir, Codec: newCodec(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// running lets a writer run until the test is over, or stop is called.
func running(t testing.TB, w *Writer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, context.Background()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the writer: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// A shelf is stored documents, folded as plainly as can be to where the test wants them.
type shelf struct {
	stored atomic.Uint64
	asked  atomic.Int64 // for documents of one fold

	keysFail atomic.Bool
	keysHang atomic.Bool // until who asks gives up

	mu    sync.Mutex
	state *ledgertest.State
	docs  map[ledger.Ref]StoredDocument
	fetch func(ctx context.Context, fold string, keys []string) error // may fail or take its time
}

func newShelf() *shelf {
	return &shelf{state: ledgertest.NewState(), docs: map[ledger.Ref]StoredDocument{}}
}

// fold stores the documents that these events change. Stored does not tell yet.
func (s *shelf) fold(records ...events.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.state.Apply(r.Event)
		for _, f := range ledger.Folds() {
			for _, key := range f.Keys(r.Event) {
				ref := ledger.Ref{Fold: f.Name, Key: key}
				doc, _ := s.state.Document(ref)
				body, err := json.Marshal(doc)
				if err != nil {
					return err
				}
				s.docs[ref] = StoredDocument{Position: r.Position, Body: body}
			}
		}
	}
	return nil
}

// store folds events and tells that they are stored.
func (s *shelf) store(t testing.TB, records ...events.Record) {
	t.Helper()
	if err := s.fold(records...); err != nil {
		t.Fatal(err)
	}
	s.stored.Store(records[len(records)-1].Position)
}

func (s *shelf) Stored() uint64 { return s.stored.Load() }

func (s *shelf) Fetch(ctx context.Context, fold string, keys []string) (map[string]StoredDocument, error) {
	s.asked.Add(1)
	if s.fetch != nil {
		if err := s.fetch(ctx, fold, keys); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]StoredDocument{}
	for _, key := range keys {
		if doc, ok := s.docs[ledger.Ref{Fold: fold, Key: key}]; ok {
			found[key] = doc
		}
	}
	return found, nil
}

// Keys takes a page from the documents as they lie.
func (s *shelf) Keys(ctx context.Context, fold, after string, max int) ([]string, error) {
	if s.keysHang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.keysFail.Load() {
		return nil, errors.New("the store is down")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for ref := range s.docs {
		if ref.Fold == fold && ref.Key > after {
			keys = append(keys, ref.Key)
		}
	}
	slices.Sort(keys)
	return keys[:min(len(keys), max)], nil
}

// morning is when every scene begins.
var morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// A desk is a writer with all that it needs, in a world whose time the test drives.
type desk struct {
	*Writer
	t     *testing.T
	log   *scriptedLog
	shelf *shelf
	clock time.Time // the writer's; read by its loop, so set it while that is idle
	said  bytes.Buffer
}

// atDesk runs a test in a bubble: what waits for a time-out does not wait, and a
// goroutine that is left behind fails the test.
func atDesk(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		d := &desk{t: t, log: &scriptedLog{codec: newCodec(t)}, shelf: newShelf(), clock: morning}
		d.Writer = d.newWriter(Limits{Queue: 2000, Lag: 10_000, Documents: 10_000})
		test(t, d)
	})
}

func (d *desk) newWriter(limits Limits) *Writer {
	return New(d.log, d.shelf, d.log.codec, func() time.Time { return d.clock }, limits,
		slog.New(slog.NewTextHandler(&d.said, nil)))
}

// open lets the writer run.
func (d *desk) open() {
	d.t.Helper()
	running(d.t, d.Writer)
	synctest.Wait()
}

// An asking is a command whose caller waits.
type asking struct {
	d     *desk
	leave context.CancelFunc
	ended chan struct{}
	done  Done
	err   error
}

// ask has somebody ask, and returns when all that can happen has happened.
func (d *desk) ask(c Command) *asking {
	a := d.begin(c)
	synctest.Wait()
	return a
}

func (d *desk) begin(c Command) *asking {
	ctx, cancel := context.WithCancel(d.t.Context())
	a := &asking{d: d, leave: cancel, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		defer cancel()
		a.done, a.err = d.Do(ctx, c)
	}()
	return a
}

func (a *asking) answered() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// got is the answer, which must be an event.
func (a *asking) got() Done {
	a.d.t.Helper()
	<-a.ended
	if a.err != nil {
		a.d.t.Fatalf("refused: %v", a.err)
	}
	return a.done
}

// refused is the answer, which must be this error.
func (a *asking) refused(want error) {
	a.d.t.Helper()
	<-a.ended
	if !errors.Is(a.err, want) {
		a.d.t.Fatalf("it came to %+v and %v, want %v", a.done, a.err, want)
	}
}

var errBlocked = ledger.Refuse("blocked_already", "This user is blocked already.")

// block is a command: ann blocks somebody, once.
func block(key, whom string) Command {
	return Command{Key: key, Actor: events.System, Decide: func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
		if ledger.Load(tx, ledger.Blocks, "ann").Has(whom) {
			return nil, nil, errBlocked
		}
		return events.UserBlocked{User: "ann", Blocked: whom}, nil, nil
	}}
}

// with is a command with a request's HMAC.
func with(request string, c Command) Command {
	c.Request = []byte(request)
	return c
}

func joining(c Command) Command {
	c.Joins = true
	return c
}

// A gate lets nobody through until it is opened.
type gate chan struct{}

func (g gate) pass(int) error {
	<-g
	return nil
}

// noneLeft fails if goroutines of the writer are left.
func noneLeft(t *testing.T) {
	t.Helper()
	var left string
	for range 200 {
		buf := make([]byte, 1<<20)
		left = ""
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "writer.(*Writer)") || strings.Contains(g, "writer.(*loop)") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", left)
}

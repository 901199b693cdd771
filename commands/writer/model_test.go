package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
)

// A model is writers over one real log, who are disturbed in every way, and all that was
// asked of them and answered. What must hold is checked against the log itself.
type model struct {
	t      *rapid.T
	log    *jetstream.Log
	codec  *events.Codec
	limits Limits
	open   func() (stored Documents, closed func()) // for one life of a writer
	faults *faults
	seats  []*seat // one or two writers at a time
	drawn  int

	mu    sync.Mutex
	asked []*asked
	acked uint64 // the last position that was acknowledged
}

// A seat is where one writer after the other sits.
type seat struct {
	w      *Writer
	kill   context.CancelFunc
	closed func()
	ended  chan error
}

// asked is one call of Do, and its answer.
type asked struct {
	wish *wish
	done Done
	err  error
	from uint64 // what had been acknowledged before
	to   uint64 // where the log ended afterwards
}

// TestTheLogIsWhatAPlainFoldDecides lets random commands come from many sides, while
// acknowledgements get lost, appends and look-ups fail, documents leave memory and are read
// again, and writers are killed, started anew and doubled.
func TestTheLogIsWhatAPlainFoldDecides(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		newModel(t, rt, func(m *model) func() (Documents, func()) {
			return func() (Documents, func()) { return m.openShelf() }
		}).run()
	})
	noneLeft(t)
}

func newModel(t *testing.T, rt *rapid.T, store func(*model) func() (Documents, func())) *model {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "log")
	if err != nil {
		rt.Fatal(err)
	}
	codec := newCodec(t)
	log, err := jetstream.Open(t.Context(), jetstream.Options{Dir: dir, Codec: codec})
	if err != nil {
		rt.Fatal(err)
	}
	rt.Cleanup(func() {
		if err := errors.Join(log.Close(), os.RemoveAll(dir)); err != nil {
			rt.Error(err)
		}
	})
	m := &model{
		t: rt, log: log, codec: codec,
		limits: Limits{
			Queue:     rapid.SampledFrom([]int{6, 50}).Draw(rt, "queue"),
			Lag:       rapid.SampledFrom([]uint64{8, 1000}).Draw(rt, "lag"),
			Documents: rapid.SampledFrom([]int{0, 20, 1000}).Draw(rt, "documents"),
		},
		faults: newFaults(rapid.Uint64().Draw(rt, "seed")),
		seats:  make([]*seat, rapid.IntRange(1, 2).Draw(rt, "writers")),
	}
	m.open = store(m)
	return m
}

func (m *model) run() {
	defer m.faults.late.Wait() // before the log is closed
	for i := range m.seats {
		m.start(i)
	}
	m.seed()
	for round := range rapid.IntRange(1, 8).Draw(m.t, "rounds") {
		m.round(round)
	}
	m.faults.end()
	for _, s := range m.seats {
		s.kill()
		if err := <-s.ended; err != nil {
			m.t.Errorf("a writer that was stopped in good order: %v", err)
		}
		s.closed()
	}
	m.faults.late.Wait()
	m.check()
}

// start puts a new writer on a seat.
func (m *model) start(i int) {
	stored, closed := m.open()
	ctx, cancel := context.WithCancel(context.Background())
	s := &seat{kill: cancel, closed: closed, ended: make(chan error, 1)}
	s.w = New(faultyLog{m.log, m.faults}, stored, m.codec, m.faults.now, m.limits,
		slog.New(slog.DiscardHandler))
	s.w.pause = time.Millisecond
	go func() { s.ended <- s.w.Run(ctx, context.Background()) }()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seats[i] = s
}

// seed makes the first events, without which all else is refused.
func (m *model) seed() {
	for _, w := range firstWishes() {
		m.asked = append(m.asked, &asked{wish: w})
		a := m.asked[len(m.asked)-1]
		for { // a lag of eight events is soon there
			if a.done, a.err = m.seats[0].w.Do(m.t.Context(), w.Command); !errors.Is(a.err, ErrOverloaded) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if a.err != nil {
			m.t.Fatalf("%s: %v", w.name, a.err)
		}
	}
}

// round has many ask at once, and meanwhile perhaps puts a new writer into a seat.
func (m *model) round(round int) {
	var wishes []*wish
	for range rapid.IntRange(1, 24).Draw(m.t, "wishes") {
		wishes = append(wishes, m.draw())
	}
	m.faults.plan(rapid.IntRange(0, 3).Draw(m.t, "faults"))
	leaves := rapid.IntRange(0, 4).Draw(m.t, "leaves") == 0
	change := rapid.SampledFrom([]string{"", "", "kill", "stop"}).Draw(m.t, "change")
	var all sync.WaitGroup
	for i, w := range wishes {
		all.Go(func() { m.ask(i%len(m.seats), w, leaves && i%3 == 0) })
	}
	all.Go(func() { m.look(round % len(m.seats)) })
	if rapid.IntRange(0, 2).Draw(m.t, "rereads") == 0 {
		all.Go(func() { m.reread(round % len(m.seats)) })
	}
	if change != "" {
		time.Sleep(time.Duration(m.one(5000)) * time.Microsecond)
		m.restart(rapid.IntRange(0, len(m.seats)-1).Draw(m.t, "seat"), change == "kill")
	}
	all.Wait()
	last, err := m.log.Last(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, a := range m.asked {
		if a.to == 0 {
			a.to = last
		}
	}
}

// restart ends a writer, well or at once, and starts the next one.
func (m *model) restart(i int, kill bool) {
	s := m.seats[i]
	if kill {
		s.w.work = 0
	}
	s.kill()
	if err := <-s.ended; err != nil && !kill {
		m.t.Errorf("a writer that was stopped in good order: %v", err)
	}
	s.closed()
	m.start(i)
}

func (m *model) ask(i int, w *wish, leaves bool) {
	m.mu.Lock()
	writer := m.seats[i].w
	a := &asked{wish: w}
	if len(m.seats) == 1 {
		a.from = m.acked // another writer may not have seen it yet
	}
	m.asked = append(m.asked, a)
	m.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if leaves {
		time.AfterFunc(time.Duration(m.faults.below(3000))*time.Microsecond, cancel)
	}
	done, err := writer.Do(ctx, w.Command)

	m.mu.Lock()
	defer m.mu.Unlock()
	a.done, a.err = done, err
	if errors.Is(err, context.DeadlineExceeded) {
		m.t.Errorf("%s got no answer", w.name)
	}
	if err == nil {
		m.acked = max(m.acked, done.Event.Position)
	}
}

// look sees documents that the same events change, and they must go together.
func (m *model) look(i int) {
	m.mu.Lock()
	writer := m.seats[i].w
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var wrong string
	err := writer.Look(ctx, func(tx *ledger.Tx) error {
		wrong = ""
		for _, user := range users {
			call := ledger.Load(tx, ledger.Lines, user).Call
			if c := ledger.Load(tx, ledger.Calls, call); call != "" && (c.Over() || !c.Has(user)) {
				wrong = fmt.Sprintf("%s is in the call %s, which is %+v", user, call, c)
			}
		}
		return nil
	})
	if err == nil && wrong != "" {
		m.t.Error(wrong)
	}
}

// reread has a writer read its documents again at some moment.
func (m *model) reread(i int) {
	time.Sleep(time.Duration(m.faults.below(3000)) * time.Microsecond)
	m.mu.Lock()
	writer := m.seats[i].w
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := writer.Reread(ctx); err != nil {
		m.t.Errorf("the documents were not read again: %v", err)
	}
}

// openShelf is stored documents that begin anywhere in the log, and follow it by fits
// and starts.
func (m *model) openShelf() (Documents, func()) {
	s := newShelf()
	s.fetch = m.faults.fetch
	last, err := m.log.Last(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.advance(s, m.faults.below(last+1)); err != nil {
		m.t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			case <-time.After(time.Duration(m.faults.below(2000)) * time.Microsecond):
			}
			if err := m.advance(s, m.faults.below(20)); err != nil {
				ended <- err
				return
			}
		}
	}()
	return s, func() {
		close(stop)
		if err := <-ended; err != nil {
			m.t.Error(err)
		}
	}
}

// advance stores so many events more, and tells a moment later.
func (m *model) advance(s *shelf, events uint64) error {
	if events == 0 {
		return nil
	}
	records, err := m.log.ReadRange(context.Background(), s.Stored(), int(events))
	if err != nil || len(records) == 0 {
		return err
	}
	if err := s.fold(records...); err != nil {
		return err
	}
	time.Sleep(time.Duration(m.faults.below(300)) * time.Microsecond)
	s.stored.Store(records[len(records)-1].Position)
	return nil
}

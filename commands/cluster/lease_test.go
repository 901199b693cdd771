package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"truebond/events/jetstream/natstest"
)

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	conn, err := Connect(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// A candidate runs for the lease, and remembers when it led.
type candidate struct {
	lease *Lease
	stop  context.CancelFunc
	ended chan error

	mu    sync.Mutex
	leads bool
	terms []error // why each ended
}

func runs(t *testing.T, conn *nats.Conn, id string, accept func(Member) error) *candidate {
	t.Helper()
	lease, err := OpenLease(t.Context(), conn, 1, Member{ID: id, URL: id}, accept, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &candidate{lease: lease, stop: stop, ended: make(chan error, 1)}
	go func() { c.ended <- lease.Run(ctx, c.lead) }()
	t.Cleanup(stop)
	return c
}

func anyone(Member) error { return nil }

func (c *candidate) lead(ctx context.Context) error {
	c.mu.Lock()
	c.leads = true
	c.mu.Unlock()
	c.lease.SetReady(true)
	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leads = false
	c.terms = append(c.terms, context.Cause(ctx))
	return nil
}

func (c *candidate) leading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it never came that %s", what)
}

func TestOneLeadsAndAnotherWhenItGivesUp(t *testing.T) {
	conn := connect(t, natstest.Server(t, t.TempDir()).ClientURL())
	a, b := runs(t, conn, "a", anyone), runs(t, conn, "b", anyone)
	await(t, "one leads", func() bool { return a.leading() || b.leading() })
	first, second := a, b
	if b.leading() {
		first, second = b, a
	}
	await(t, "the other sees it", func() bool {
		s := second.lease.Sight()
		return s.Alive && s.Holder.Ready && s.Holder.ID == first.lease.Sight().Holder.ID
	})
	first.lease.SetMisses([]string{"Redis"})
	await(t, "the other sees what the first misses", func() bool {
		return slices.Equal(second.lease.Sight().Holder.Misses, []string{"Redis"})
	})
	first.lease.SetMark("a mark")
	await(t, "the other sees the first one's mark", func() bool { return second.lease.Sight().Holder.Mark == "a mark" })
	if second.leading() || second.lease.Sure() || !first.lease.Sure() {
		t.Fatal("two lead")
	}
	since := time.Now()
	first.stop()
	if err := <-first.ended; err != nil {
		t.Fatal(err)
	}
	await(t, "the other leads", second.leading)
	t.Logf("the lease was handed over in %v", time.Since(since))
	if first.lease.Sure() {
		t.Error("who gave the lease up is still sure of it")
	}
}

func TestWhoMissesSomethingLetsOthersTakeTheLeaseFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for holder, wait := range map[string]time.Duration{"": 0, "me": 0, "another": waited} {
			l := &Lease{me: Member{ID: "me"}, holder: Member{ID: holder}, since: time.Now()}
			free := func(yes bool) {
				t.Helper()
				if l.free() != yes {
					t.Errorf("after %v the lease of %q is free: %v", time.Since(l.since), holder, !yes)
				}
			}
			free(wait == 0)
			time.Sleep(wait)
			free(true)
			l.me.Misses = []string{"MongoDB"}
			free(false)
			time.Sleep(behind)
			free(true)
		}
	})
}

func TestWhoCannotRenewStopsBeforeAnotherLeads(t *testing.T) {
	server := natstest.Server(t, t.TempDir())
	proxy := natstest.NewProxy(t, server.ClientURL())
	first := runs(t, connect(t, proxy.URL()), "first", anyone)
	await(t, "the first leads", first.leading)
	second := runs(t, connect(t, server.ClientURL()), "second", anyone)
	var both sync.WaitGroup
	stop := make(chan struct{})
	both.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if second.lease.Sure() && first.lease.Sure() { // in this order: the first may only lose it
				t.Error("two are sure of the lease")
				return
			}
		}
	})
	proxy.Freeze()
	await(t, "the second leads", second.leading)
	close(stop)
	both.Wait()
	await(t, "the first has stopped", func() bool { return !first.leading() })
	if !errors.Is(first.terms[0], ErrLost) {
		t.Errorf("its term ended with %v", first.terms[0])
	}
	proxy.Heal()
	await(t, "the first follows", func() bool {
		s := first.lease.Sight()
		return s.Alive && s.Holder.ID == "second"
	})
}

func TestWhoDoesNotGoWithALivingLeaderEnds(t *testing.T) {
	conn := connect(t, natstest.Server(t, t.TempDir()).ClientURL())
	first := runs(t, conn, "first", anyone)
	await(t, "the first leads", first.leading)
	no := errors.New("they have another secret")
	second := runs(t, conn, "second", func(m Member) error {
		if m.ID != "first" {
			t.Errorf("it was asked about %q", m.ID)
		}
		return no
	})
	if err := <-second.ended; !errors.Is(err, no) {
		t.Errorf("it ended with %v", err)
	}
}

func TestAnErrorOfTheLeaderEndsItAndFreesTheLease(t *testing.T) {
	conn := connect(t, natstest.Server(t, t.TempDir()).ClientURL())
	lease, err := OpenLease(t.Context(), conn, 1, Member{ID: "a"}, anyone, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the store is broken")
	if err := lease.Run(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
	since := time.Now()
	await(t, "the next leads", runs(t, conn, "b", anyone).leading)
	if took := time.Since(since); took >= waited {
		t.Logf("it took %v: the lease was not given up", took)
	}
}

func TestAnEntryThatIsSeenLateCountsFromWhenItWasAskedFor(t *testing.T) {
	conn := connect(t, natstest.Server(t, t.TempDir()).ClientURL())
	for name, test := range map[string]struct {
		between time.Duration // by the holder's clock
		free    bool
	}{
		"asked for long ago":                 {100 * time.Millisecond, true},
		"asked for just now":                 {4 * time.Second, false},
		"asked for, it seems, in the future": {time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := OpenLease(t.Context(), conn, 1, Member{ID: "watches"}, anyone, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			_, revision, _ := l.entry.read(t.Context())
			holds := func(asked time.Duration) {
				t.Helper()
				text, err := json.Marshal(Member{ID: name, Asked: asked.Milliseconds()})
				if err == nil {
					revision, err = l.entry.write(t.Context(), text, revision)
				}
				if err := errors.Join(err, l.look(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
			holds(time.Second)
			l.since = l.since.Add(-4 * time.Second) // it was seen that long ago
			holds(time.Second + test.between)
			if l.free() != test.free {
				t.Errorf("free: %v, %v after it was asked for", l.free(), time.Since(l.since))
			}
		})
	}
}

func TestItIsSeenHowFarTheHoldersClockIsOff(t *testing.T) {
	conn := connect(t, natstest.Server(t, t.TempDir()).ClientURL())
	l, err := OpenLease(t.Context(), conn, 1, Member{ID: "watches"}, anyone, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var revision uint64
	asked := int64(0)
	for _, ahead := range []time.Duration{0, 2 * time.Minute, -3 * time.Hour} { // the watcher's clock
		asked += 1000
		text, err := json.Marshal(Member{ID: "holds", Asked: asked, Wall: time.Now().Add(-ahead).UnixMilli()})
		if err == nil {
			revision, err = l.entry.write(t.Context(), text, revision)
		}
		if err := errors.Join(err, l.look(t.Context())); err != nil {
			t.Fatal(err)
		}
		if off := l.Sight().Ahead - ahead; off < -2*time.Second || off > 2*time.Second {
			t.Errorf("the clock seems to be %v ahead, and is %v", l.Sight().Ahead, ahead)
		}
		l.since = l.since.Add(-time.Second) // it was seen that long ago
	}
}

func TestAWriteThatIsSentTwiceCountsOnce(t *testing.T) {
	conn := connect(t, natstest.Server(t, t.TempDir()).ClientURL())
	if _, err := OpenLease(t.Context(), conn, 1, Member{ID: "a"}, anyone, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	e := entry{conn, bucket, "twice"}
	first, err := e.write(t.Context(), []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.write(t.Context(), []byte("two"), 0); err == nil {
		t.Error("a value was written over one that it does not know")
	}
	second, err := e.write(t.Context(), []byte("three"), first)
	if err != nil || second <= first {
		t.Errorf("revision %d was written over %d: %v", second, first, err)
	}
	if text, err := Note(t.Context(), conn, "twice"); err != nil || string(text) != "three" {
		t.Errorf("the note is %q: %v", text, err)
	}
	if text, err := Note(t.Context(), conn, "none"); err != nil || text != nil {
		t.Errorf("a note that is not there is %q: %v", text, err)
	}
	for range 2 {
		if err := SetNote(t.Context(), conn, "twice", nil); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := Note(t.Context(), conn, "twice"); err != nil || len(text) != 0 {
		t.Errorf("a note that was taken away is %q: %v", text, err)
	}
}

// A note may say that a restore is under way: taken for none, it would have a server lead.
func TestANoteOfABucketThatAServerDoesNotKnowYetIsReadAllTheSame(t *testing.T) {
	url := natstest.Server(t, t.TempDir(), func(o *server.Options) { o.JetStream = false }).ClientURL()
	conn := connect(t, url)
	answers := []string{`{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`,
		`{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`,
		`{"message":{"seq":3,"data":"YmVndW4="}}`}
	_, err := conn.Subscribe("$JS.API.STREAM.MSG.GET.KV_"+bucket, func(msg *nats.Msg) {
		_ = msg.Respond([]byte(answers[0]))
		answers = answers[min(1, len(answers)-1):]
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := Note(bounded(t, time.Minute), conn, "restoring"); err != nil || string(text) != "begun" {
		t.Errorf("the note is %q: %v", text, err)
	}
}

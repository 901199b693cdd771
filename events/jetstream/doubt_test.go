package jetstream

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"truebond/events"
	"truebond/events/jetstream/natstest"
)

const tryingAgain = "an append's outcome is unknown"

// onOneAndMany runs a test of unknown outcomes with a lone event and with a batch.
func onOneAndMany(t *testing.T, test func(t *testing.T, count int)) {
	for _, count := range []int{1, 20} {
		t.Run(fmt.Sprint(count), func(t *testing.T) { test(t, count) })
	}
}

// begun appends in the background.
func begun(ctx context.Context, l *Log, after uint64, records []events.Record) chan error {
	outcome := make(chan error, 1)
	go func() { outcome <- l.Append(ctx, after, records) }()
	return outcome
}

func awaitLast(t *testing.T, l *Log, want uint64) {
	t.Helper()
	var got []events.Record
	if err := l.Follow(t.Context(), 0, 100, until(&got, int(want))); err == nil || len(got) != int(want) {
		t.Fatalf("%d events are in, want %d: %v", len(got), want, err)
	}
}

func TestAnAppendWhoseAcknowledgementIsLostIsInOnce(t *testing.T) {
	onOneAndMany(t, func(t *testing.T, count int) {
		far, near, proxy, heard := onOne(t)
		all := newWriting(t, "a").next(t, 0, count)
		proxy.LoseAnswers()
		outcome := begun(t.Context(), far, 0, all)
		awaitLast(t, near, uint64(count))
		heard.await(t, tryingAgain)
		proxy.Heal()
		if err := <-outcome; err != nil {
			t.Fatal(err)
		}
		holds(t, near, all)
	})
}

func TestAnAppendThatDidNotArriveIsSentAgain(t *testing.T) {
	onOneAndMany(t, func(t *testing.T, count int) {
		far, near, proxy, heard := onOne(t)
		all := newWriting(t, "a").next(t, 0, count)
		proxy.Freeze()
		outcome := begun(t.Context(), far, 0, all)
		heard.await(t, tryingAgain)
		holds(t, near, nil)
		proxy.Heal()
		if err := <-outcome; err != nil {
			t.Fatal(err)
		}
		holds(t, near, all)
	})
}

func TestAnAppendThatArrivesLateIsInOnce(t *testing.T) {
	onOneAndMany(t, func(t *testing.T, count int) {
		far, near, proxy, heard := onOne(t)
		w := newWriting(t, "a")
		all := w.next(t, 0, count)
		proxy.Freeze()
		outcome := begun(t.Context(), far, 0, all)
		heard.await(t, tryingAgain)
		proxy.Thaw()
		if err := <-outcome; err != nil {
			t.Fatal(err)
		}
		more := w.next(t, uint64(count), count)
		appended(t, far, uint64(count), more)
		holds(t, near, append(all, more...))
	})
}

func TestAnAppendThatAnotherOvertookIsBeaten(t *testing.T) {
	onOneAndMany(t, func(t *testing.T, count int) {
		far, near, proxy, heard := onOne(t)
		faster := newWriting(t, "faster").next(t, 0, 1)
		proxy.Freeze()
		outcome := begun(t.Context(), far, 0, newWriting(t, "slower").next(t, 0, count))
		heard.await(t, tryingAgain)
		appended(t, near, 0, faster)
		proxy.Thaw()
		failsWith(t, <-outcome, events.ErrBeaten)
		holds(t, near, faster)
	})
}

func TestOnlyTheEndOfItsContextLeavesAnAppendUnknown(t *testing.T) {
	onOneAndMany(t, func(t *testing.T, count int) {
		far, near, proxy, heard := onOne(t)
		all := newWriting(t, "a").next(t, 0, count)
		ctx, cancel := context.WithCancel(t.Context())
		proxy.LoseAnswers()
		outcome := begun(ctx, far, 0, all)
		awaitLast(t, near, uint64(count))
		heard.await(t, tryingAgain)
		cancel()
		err := <-outcome
		failsWith(t, err, ErrUnknown)
		failsWith(t, err, context.Canceled)
		proxy.Heal()
		appended(t, far, 0, all)
		holds(t, near, all)

		more := newWriting(t, "b").next(t, uint64(count), count)
		failsWith(t, far.Append(ctx, uint64(count), more), context.Canceled)
		holds(t, near, all)
	})
}

func TestClosingLeavesAnAppendUnknown(t *testing.T) {
	far, _, proxy, heard := onOne(t)
	proxy.Freeze()
	outcome := begun(t.Context(), far, 0, newWriting(t, "a").next(t, 0, 1))
	heard.await(t, tryingAgain)
	closed(t, far)
	err := <-outcome
	failsWith(t, err, ErrUnknown)
	failsWith(t, err, ErrClosed)
}

func TestCutConnectionsNeitherLoseNorDouble(t *testing.T) {
	far, near, proxy, _ := onOne(t)
	w := newWriting(t, "a")
	var all []events.Record
	cut := make(chan struct{})
	followed := make(chan error, 1)
	var seen []events.Record
	go func() { followed <- far.Follow(t.Context(), 0, 7, until(&seen, 12*11)) }()
	go func() {
		for range cut {
			proxy.Cut()
		}
	}()
	defer close(cut)
	for i := range 12 {
		some := w.next(t, uint64(len(all)), 1+20*(i%2))
		cut <- struct{}{}
		appended(t, far, uint64(len(all)), some)
		all = append(all, some...)
	}
	failsWith(t, <-followed, errEnough)
	holds(t, near, all)
	same(t, seen, all[:len(seen)])
}

func TestAFollowerOutlivesAFrozenServer(t *testing.T) {
	far, near, proxy, heard := onOne(t)
	w := newWriting(t, "a")
	all := w.next(t, 0, 3)
	appended(t, near, 0, all[:1])
	followed := make(chan error, 1)
	started := make(chan struct{}, 3)
	var seen []events.Record
	go func() {
		followed <- far.Follow(t.Context(), 0, 1, func(some []events.Record) error {
			started <- struct{}{}
			return until(&seen, 3)(some)
		})
	}()
	<-started
	proxy.Freeze()
	appended(t, near, 1, all[1:2])
	heard.await(t, "following it anew")
	proxy.Heal()
	appended(t, near, 2, all[2:])
	failsWith(t, <-followed, errEnough)
	same(t, seen, all)
}

func TestTheLogOutlivesTheServerThatLeadsIt(t *testing.T) {
	t.Parallel() // it waits for an election
	url, servers := natstest.Cluster(t)
	o := patient(t)
	o.URL = url
	l := open(t, o)
	w := newWriting(t, "a")
	followed := make(chan error, 1)
	var seen, all []events.Record
	go func() { followed <- l.Follow(t.Context(), 0, 10, until(&seen, 10*11)) }()
	for i := range 10 {
		if i == 4 {
			shutDown(t, servers)
		}
		some := w.next(t, uint64(len(all)), 1+20*(i%2))
		appended(t, l, uint64(len(all)), some)
		all = append(all, some...)
	}
	failsWith(t, <-followed, errEnough)
	same(t, seen, all)
	holds(t, l, all)
}

// Else it depends on chance whether a log is told to be too short, or not to answer.
func TestATryThatIsCutOffHidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{opts: Options{AppendTimeout: time.Second, ReadTimeout: 10 * time.Second}}
		ctx, cancel := context.WithTimeout(t.Context(), l.opts.ReadTimeout)
		defer cancel()
		begun := time.Now()
		err := l.patiently(ctx, func(ctx context.Context) error {
			if time.Since(begun) < l.opts.ReadTimeout-l.opts.AppendTimeout/2 {
				return errOld
			}
			<-ctx.Done()
			return ctx.Err()
		})
		failsWith(t, err, errOld)
		failsWith(t, err, context.DeadlineExceeded)
	})
}

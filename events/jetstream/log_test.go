package jetstream

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"truebond/events"
	"truebond/events/jetstream/natstest"
)

func whatIsAppendedIsRead(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	var all []events.Record
	for _, count := range []int{1, 2, 15, 16, events.BatchMax, 1} {
		some := w.next(t, uint64(len(all)), count)
		appended(t, l, uint64(len(all)), some)
		all = append(all, some...)
	}
	holds(t, l, all)
	last, err := l.Last(t.Context())
	if err != nil || last != uint64(len(all)) {
		t.Fatalf("the last position is %d, %v", last, err)
	}
	one, err := l.Read(t.Context(), 17)
	if err != nil {
		t.Fatal(err)
	}
	same(t, []events.Record{one}, all[16:17])
	some, err := l.ReadRange(t.Context(), 30, 5)
	if err != nil {
		t.Fatal(err)
	}
	same(t, some, all[30:35])
	if err := l.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func anEmptyLogHasNothing(t *testing.T, l *Log) {
	holds(t, l, nil)
	_, err := l.Read(t.Context(), 1)
	failsWith(t, err, ErrNotFound)
	_, err = l.Read(t.Context(), 0)
	failsWith(t, err, ErrNotFound)
	_, err = l.ReadRange(t.Context(), 1, 10)
	failsWith(t, err, events.ErrShort)
	if err := l.Check(t.Context(), map[uint64][]byte{0: nil}); err != nil {
		t.Fatal(err)
	}
	failsWith(t, l.Check(t.Context(), map[uint64][]byte{1: nil}), events.ErrShort)
}

func anAppendAtATakenPositionIsBeaten(t *testing.T, l *Log, count int) {
	first, late := newWriting(t, "first"), newWriting(t, "late")
	all := first.next(t, 0, 4)
	appended(t, l, 0, all)
	failsWith(t, l.Append(t.Context(), 0, late.next(t, 0, count)), events.ErrBeaten)
	failsWith(t, l.Append(t.Context(), 2, late.next(t, 2, count)), events.ErrBeaten)
	holds(t, l, all)
	appended(t, l, 4, late.next(t, 4, count))
}

func theSameAppendAgainIsInOnce(t *testing.T, l *Log, count int) {
	w := newWriting(t, "a")
	all := w.next(t, 0, count)
	appended(t, l, 0, all)
	appended(t, l, 0, all)
	more := w.next(t, uint64(count), count)
	appended(t, l, uint64(count), more)
	appended(t, l, 0, all)
	holds(t, l, append(all, more...))
}

func aKeyThatStandsElsewhereBeatsAnAppend(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	all := w.next(t, 0, 3)
	appended(t, l, 0, all)
	again := []events.Record{w.event(t, 4, all[1].Key)}
	err := l.Append(t.Context(), 3, again)
	failsWith(t, err, events.ErrBeaten)
	var taken *KeyTakenError
	if !errors.As(err, &taken) || taken.Position != 2 || taken.Key != all[1].Key {
		t.Fatalf("got %v", err)
	}
	batch := append(again, w.next(t, 4, 20)...)
	failsWith(t, l.Append(t.Context(), 3, batch[:21]), events.ErrBeaten)
	holds(t, l, all)
}

func anAppendThatIsBeatenHalfwaySaysHowManyAreIn(t *testing.T, l *Log, count int) {
	w := newWriting(t, "a")
	all, others := w.next(t, 0, count), newWriting(t, "b").next(t, 2, 1)
	appended(t, l, 0, all[:2])
	appended(t, l, 2, others)
	err := l.Append(t.Context(), 0, all)
	failsWith(t, err, events.ErrBeaten)
	var partial *PartialError
	if !errors.As(err, &partial) || partial.In != 2 {
		t.Fatalf("got %v", err)
	}
	holds(t, l, append(all[:2:2], others...))
}

func anAppendThatIsHalfInIsFinished(t *testing.T, l *Log, count int) {
	all := newWriting(t, "a").next(t, 0, count)
	appended(t, l, 0, all[:2])
	appended(t, l, 0, all)
	holds(t, l, all)
}

func anAppendBeyondTheEndIsRefused(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	failsWith(t, l.Append(t.Context(), 7, w.next(t, 7, 1)), events.ErrShort)
	failsWith(t, l.Append(t.Context(), 7, w.next(t, 7, 20)), events.ErrShort)
	holds(t, l, nil)
}

func TestWhatIsNoAppendIsRefused(t *testing.T) {
	o := patient(t)
	o.Dir = t.TempDir()
	l := open(t, o)
	w := newWriting(t, "a")
	with := func(change func(r *events.Record)) []events.Record {
		records := w.next(t, 0, 2)
		change(&records[1])
		return records
	}
	for name, records := range map[string][]events.Record{
		"nothing":           nil,
		"too many":          w.next(t, 0, events.BatchMax+1),
		"a gap":             with(func(r *events.Record) { r.Position++ }),
		"another position":  w.next(t, 1, 1),
		"not encoded":       with(func(r *events.Record) { r.Body = nil }),
		"no key":            with(func(r *events.Record) { r.Key = "" }),
		"says nothing":      with(func(r *events.Record) { r.Data = nil }),
		"too long":          with(func(r *events.Record) { r.Body = make([]byte, events.BodyMax+1) }),
		"one key for two":   {w.event(t, 1, "same"), w.event(t, 2, "same")},
		"too long together": tooLongTogether(w.next(t, 0, events.BatchMax)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := l.Append(t.Context(), 0, records); err == nil {
				t.Fatal("it was accepted")
			}
		})
	}
	holds(t, l, nil)
}

func TestNoStreamIsMadeWhereOneMustExist(t *testing.T) {
	s := natstest.Server(t, t.TempDir())
	o := patient(t)
	o.URL, o.Replicas, o.Existing = s.ClientURL(), 1, true
	for range 2 { // the first one has made none
		_, err := Open(t.Context(), o)
		mentions(t, err, "stream EVENTS", "not found")
	}
	o.Existing = false
	closed(t, open(t, o))
	o.Existing = true
	open(t, o)
}

func TestServersThatDoNotCarryTheLargestEventAreRefused(t *testing.T) {
	s := natstest.Server(t, t.TempDir(), func(o *server.Options) { o.MaxPayload = events.BodyMax })
	o := patient(t)
	o.URL, o.Replicas = s.ClientURL(), 1
	_, err := Open(t.Context(), o)
	mentions(t, err, "max_payload")
}

func tooLongTogether(records []events.Record) []events.Record {
	body := make([]byte, events.BatchBytesMax/len(records)+1)
	for i := range records {
		records[i].Body = body
	}
	return records
}

func headersSayWhatABodySays(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	key := `api/user/usr_1/ "50%" — né`
	appended(t, l, 0, []events.Record{w.event(t, 1, key)})
	appended(t, l, 1, []events.Record{w.event(t, 2, `api/user/usr_1/%20"50%" — né`)})
	js, err := l.conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	msg, err := js.GetMsg(streamName, 1)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Subject != "events.credits.deducted" {
		t.Errorf("the subject is %s", msg.Subject)
	}
	for name, want := range map[string]string{
		"ce-specversion": "1.0",
		"ce-type":        "credits.deducted",
		"ce-subject":     "usr_1",
		"ce-time":        "2026-01-02T03:04:05.006Z",
		"ce-dataschema":  "/schemas/credits.deducted/1",
		"ce-id":          "api/user/usr_1/%20%2250%25%22%20%E2%80%94%20n%C3%A9",
		nats.MsgIdHdr:    "api/user/usr_1/%20%2250%25%22%20%E2%80%94%20n%C3%A9",
		"content-type":   "application/json",
	} {
		if got := msg.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	r, err := l.Read(t.Context(), 1)
	if err != nil || r.Key != key {
		t.Fatalf("the key is %q, %v", r.Key, err)
	}
}

func aFollowerSeesWhatIsThereAndWhatComes(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	all := w.next(t, 0, 700)
	appended(t, l, 0, all)
	more := w.next(t, 700, 50)
	var followers sync.WaitGroup
	for _, after := range []int{0, 1, 333, 700} {
		followers.Go(func() {
			var got []events.Record
			err := l.Follow(t.Context(), uint64(after), 100, until(&got, 750-after))
			if !errors.Is(err, errEnough) {
				t.Errorf("after %d: %v", after, err)
				return
			}
			same(t, got, append(all[after:len(all):len(all)], more...))
		})
	}
	for i := range more {
		appended(t, l, uint64(700+i), more[i:i+1])
	}
	followers.Wait()
}

func aFollowerTakesNoMoreThanItWants(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	appended(t, l, 0, w.next(t, 0, 50))
	seen, most := 0, 0
	err := l.Follow(t.Context(), 0, 8, func(some []events.Record) error {
		seen, most = seen+len(some), max(most, len(some))
		if seen == 50 {
			return errEnough
		}
		return nil
	})
	failsWith(t, err, errEnough)
	if most != 8 {
		t.Errorf("it got up to %d at a time", most)
	}
}

func aFollowerEndsWithItsContextAndWithTheLog(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	appended(t, l, 0, w.next(t, 0, 1))
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Follow(ctx, 0, 8, func([]events.Record) error { cancel(); return nil })
	failsWith(t, err, context.Canceled)
	err = l.Follow(t.Context(), 0, 8, func([]events.Record) error { go func() { _ = l.Close() }(); return nil })
	failsWith(t, err, ErrClosed)
	failsWith(t, l.Append(t.Context(), 1, w.next(t, 1, 1)), ErrClosed)
	_, err = l.Last(t.Context())
	failsWith(t, err, ErrClosed)
}

func aFollowerBeyondTheEndIsTold(t *testing.T, l *Log) {
	appended(t, l, 0, newWriting(t, "a").next(t, 0, 3))
	err := l.Follow(t.Context(), 4, 8, func([]events.Record) error { return nil })
	failsWith(t, err, events.ErrShort)
}

func TestTwoWritersBeatEachOtherAndLoseNothing(t *testing.T) {
	o := patient(t)
	o.URL, _ = natstest.Cluster(t)
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		l, w := open(t, o), newWriting(t, name)
		writers.Go(func() {
			for in := 0; in < 30; {
				last, err := l.Last(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				count := 1 + in%3
				switch err := l.Append(t.Context(), last, w.next(t, last, count)); {
				case err == nil:
					in += count
				case !errors.Is(err, events.ErrBeaten):
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	l := open(t, o)
	last, err := l.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.ReadRange(t.Context(), 0, int(last))
	if err != nil || len(all) != int(last) {
		t.Fatalf("read %d of %d: %v", len(all), last, err)
	}
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.Key] {
			t.Errorf("%s is in twice", r.Key)
		}
		seen[r.Key] = true
	}
	if len(all) < 60 {
		t.Errorf("%d events are in; 60 or more were acknowledged", len(all))
	}
}

// One of a cluster that has just begun to lead may not know yet which streams there are.
func TestAServerThatDoesNotKnowTheStreamYetIsAskedAgain(t *testing.T) {
	for verb, read := range map[string]func(*Log) error{
		"STREAM.INFO": func(l *Log) error {
			_, err := l.Last(t.Context())
			return err
		},
		"STREAM.MSG.GET": func(l *Log) error {
			if _, err := l.Read(t.Context(), 1); !errors.Is(err, ErrNotFound) {
				return err
			}
			return nil
		},
	} {
		t.Run(verb, func(t *testing.T) {
			s := natstest.Server(t, t.TempDir())
			o := patient(t)
			o.URL, o.Replicas = s.ClientURL(), 1
			l, conn := open(t, o), connected(t, s)
			request(t, conn, "STREAM.DELETE."+streamName, nil)
			asked, err := conn.SubscribeSync("$JS.API." + verb + "." + streamName)
			if err == nil {
				err = conn.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() { answered <- read(l) }()
			for n := range 2 {
				if _, err := asked.NextMsg(l.opts.ReadTimeout); err != nil {
					t.Fatalf("it was asked %d times: %v, %v", n, err, <-answered)
				}
			}
			select {
			case err := <-answered:
				t.Fatalf("what the server does not know is answered with %v", err)
			default:
			}
			makeStream(t, conn, "CREATE", settings(1))
			if err := <-answered; err != nil {
				t.Error(err)
			}
		})
	}
}

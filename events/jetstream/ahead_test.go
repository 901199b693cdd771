package jetstream

import (
	"errors"
	"runtime"
	"testing"

	"truebond/events"
)

// sentAhead stages records, and returns when they are sent.
func sentAhead(l *Log, after uint64, records []events.Record) {
	l.Stage(after, records)
	for l.staging.wish.Load() != nil {
		runtime.Gosched()
	}
	l.staging.mu.Lock() // until it is fulfilled
	defer l.staging.mu.Unlock()
}

func whatIsSentAheadIsInWhenItIsAppended(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	all := w.next(t, 0, 100)
	for _, n := range []int{1, 2, 40, 99, 100} {
		sentAhead(l, 0, all[:n])
	}
	holds(t, l, nil)
	appended(t, l, 0, all)
	holds(t, l, all)

	few := w.next(t, 100, 3)
	sentAhead(l, 100, few[:2])
	appended(t, l, 100, few)
	all = append(all, few...)
	holds(t, l, all)

	// While one is sent ahead, the one before it is appended.
	first, second := w.next(t, 103, 30), w.next(t, 133, 30)
	sentAhead(l, 133, second[:20])
	appended(t, l, 103, first)
	sentAhead(l, 133, second)
	appended(t, l, 133, second)
	holds(t, l, append(append(all, first...), second...))
}

// An append may begin late, when what comes behind it is being sent ahead already.
func twoAppendsAreSentAhead(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	first, second := w.next(t, 0, 30), w.next(t, 30, 30)
	sentAhead(l, 0, first[:20])
	sentAhead(l, 0, first)
	sentAhead(l, 30, second[:10])
	sentAhead(l, 30, second[:15])
	appended(t, l, 0, first)
	if a := l.staged(30, second); a == nil || a.sent != 14 {
		t.Errorf("of the second append, %+v was sent ahead", a)
	}
	appended(t, l, 30, second)
	holds(t, l, append(first, second...))
}

// Whoever is beaten sends again and again what never gets in; a server bears fifty
// batches that are not complete.
func whatIsSentAheadOfOthersDoesNoHarm(t *testing.T, l *Log) {
	w, others := newWriting(t, "a"), newWriting(t, "b")
	for range 60 {
		sentAhead(l, 0, others.next(t, 0, 20)) // others come instead
	}
	all := w.next(t, 0, 20)
	appended(t, l, 0, all)
	holds(t, l, all)

	late := others.next(t, 10, 20)
	sentAhead(l, 10, late)
	failsWith(t, l.Append(t.Context(), 10, late), events.ErrBeaten)
	sentAhead(l, 25, others.next(t, 25, 20)) // the log is not as long yet
	more := w.next(t, 20, 20)
	sentAhead(l, 20, more[:10])
	same := append(more[:5:5], w.next(t, 25, 15)...) // the last of those that were sent is another
	appended(t, l, 20, same)
	holds(t, l, append(all, same...))
}

func aFollowerSeesAllHoweverItIsAppended(t *testing.T, l *Log) {
	w := newWriting(t, "a")
	all := w.next(t, 0, 20)
	appended(t, l, 0, all)
	const total = 20 + 6*45
	var got []events.Record
	followed := make(chan error, 1)
	go func() { followed <- l.Follow(t.Context(), 0, 50, until(&got, total)) }()
	for round := range 6 {
		some := w.next(t, uint64(len(all)), 45)
		sentAhead(l, uint64(len(all)), some[:20])
		switch round % 3 {
		case 0:
			appended(t, l, uint64(len(all)), some)
		case 1: // one by one
			for i := range some {
				appended(t, l, uint64(len(all)+i), some[i:i+1])
			}
		case 2: // and once more, since nobody knows what became of them
			appended(t, l, uint64(len(all)), some[:30])
			appended(t, l, uint64(len(all)), some)
			appended(t, l, uint64(len(all)), some[:30])
		}
		all = append(all, some...)
	}
	if err := <-followed; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	same(t, got, all)
}

func TestATailKnowsNothingOfWhatItForgot(t *testing.T) {
	w := newWriting(t, "a")
	records := w.next(t, 0, 2*pageRecords)
	tail := newTail()
	knows := func(position uint64, want int, wantKnown bool) {
		t.Helper()
		some, known, _ := tail.after(position, 4)
		if len(some) != want || known != wantKnown || want > 0 && some[0].Position != position+1 {
			t.Errorf("behind %d it has %d events; known: %v", position, len(some), known)
		}
	}
	knows(0, 0, false)
	tail.max = 10 * len(records[0].Body)
	tail.grow(records[:5])
	knows(0, 4, true)
	knows(5, 0, true)
	knows(6, 0, false) // it ends before
	tail.grow(records[5 : pageRecords+2])
	knows(5, 0, false) // too old
	knows(pageRecords, 2, true)
	tail.grow(records[pageRecords+2 : pageRecords+4])
	knows(pageRecords+1, 3, true)
	tail.grow(records[pageRecords+9 : pageRecords+14]) // somebody does not know what became of five
	knows(pageRecords+4, 0, false)
	knows(pageRecords+9, 4, true)
	tail.forget()
	knows(pageRecords+14, 0, false)
}

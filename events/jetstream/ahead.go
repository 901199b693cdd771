package jetstream

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"truebond/events"
)

// An ahead is the beginning of an atomic batch that the server has before the append
// that completes it. Until then nothing of it is in the log; the server forgets it ten
// seconds after the last record.
type ahead struct {
	id    string
	after uint64
	sent  int   // records
	link  *link // over which they were sent
	last  *byte // of the last record's body: by it an append knows its own
}

func newAhead(after uint64) *ahead { return &ahead{id: nuid.Next(), after: after} }

// staging sends records ahead, while an append is under way. It does so in a goroutine of its
// own: a connection takes what is published at its server's pace, and who decides the next
// events is not to wait for that.
type staging struct {
	wish atomic.Pointer[wish] // the newest; nil if it is taken up
	bell chan struct{}        // has room for one: there is a wish

	mu     sync.Mutex
	aheads []*ahead // of appends that are to come, in their order
	draft  draft
}

// A wish is what is to be sent ahead of an append.
type wish struct {
	after   uint64
	records []events.Record
}

// aheadsMax is how many appends may have been sent ahead: one that is just beginning, and the
// one behind it.
const aheadsMax = 2

// Stage has records sent ahead of the append that will begin with them, behind the same
// position, so that the server has them at hand by then. `records` are all that this
// append will have so far, and are not to be changed; with each call there are more. Stage does
// not wait until they are sent. It changes nothing in the log, and promises nothing: an append
// of others is as right as if they had not been sent.
func (l *Log) Stage(after uint64, records []events.Record) {
	l.staging.wish.Store(&wish{after, records})
	select {
	case l.staging.bell <- struct{}{}:
	default:
	}
}

// sendAhead does what Stage wishes until the log is closed.
func (l *Log) sendAhead() {
	for {
		select {
		case <-l.staging.bell:
			l.takeUp()
		case <-l.life.Done():
			return
		}
	}
}

// takeUp sends what the newest wish has more than was sent.
func (l *Log) takeUp() {
	s := &l.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wish.Swap(nil)
	if w == nil {
		return
	}
	a := l.beginning(w.after, w.records)
	// The last one stays, since an append completes the batch with one.
	for a.sent < min(len(w.records), events.BatchMax)-1 {
		r := w.records[a.sent]
		if err := l.conn.PublishMsg(s.draft.member(r, l.codec, a, a.sent)); err != nil {
			return // the append will tell
		}
		a.sent++
		a.last = &r.Body[0]
	}
}

// beginning is what was sent ahead of an append, or a new one that stands for what was sent
// for its position and behind it before. Hold the staging's mu.
func (l *Log) beginning(after uint64, records []events.Record) *ahead {
	s, link := &l.staging, l.link.Load()
	for len(s.aheads) > 0 {
		last := s.aheads[len(s.aheads)-1]
		if last.begins(records, after, link) {
			return last
		}
		if last.after < after && len(s.aheads) < aheadsMax {
			break
		}
		l.abandon(last)
		s.aheads = s.aheads[:len(s.aheads)-1]
	}
	a := newAhead(after)
	a.link = link
	s.aheads = append(s.aheads, a)
	return a
}

// staged is the beginning of an append that was sent ahead; nil if there is none. What else was
// sent for its position or one before it, or was about to be, is of no use any more.
func (l *Log) staged(after uint64, records []events.Record) (taken *ahead) {
	s, link := &l.staging, l.link.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.wish.Load(); w != nil && w.after <= after {
		s.wish.CompareAndSwap(w, nil)
	}
	for len(s.aheads) > 0 && s.aheads[0].after <= after {
		first := s.aheads[0]
		s.aheads = s.aheads[1:]
		if taken == nil && first.begins(records, after, link) {
			taken = first
		} else {
			l.abandon(first)
		}
	}
	return taken
}

// abandon has the server forget a beginning at once, of which it bears fifty at a time: a
// gap in a batch ends it.
func (l *Log) abandon(a *ahead) {
	if a.sent == 0 {
		return
	}
	msg := nats.NewMsg(subjectPrefix + "abandoned")
	msg.Header.Set(server.JSBatchId, a.id)
	msg.Header.Set(server.JSBatchSeq, strconv.Itoa(a.sent+2))
	_ = l.conn.PublishMsg(msg) // it will be forgotten anyway
}

// begins tells whether these records are what was sent, and more.
func (a *ahead) begins(records []events.Record, after uint64, now *link) bool {
	return a.sent > 0 && a.after == after && a.link == now && a.sent < len(records) &&
		a.last == &records[a.sent-1].Body[0]
}

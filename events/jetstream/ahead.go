package jetstream

import (
	"strconv"
	"sync"

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

// staging sends records ahead, while an append is under way.
type staging struct {
	mu    sync.Mutex
	ahead *ahead // nil if nothing was sent
	draft draft
}

// Stage sends records ahead of the append that will begin with them, behind the same
// position, so that the server has them at hand by then. `records` are all that this
// append will have so far; with each call there are more. It changes nothing in the log,
// and promises nothing: an append of others is as right as if they had not been sent.
func (l *Log) Stage(after uint64, records []events.Record) {
	s := &l.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	if link := l.link.Load(); !s.ahead.begins(records, after, link) {
		l.abandon(s.ahead)
		s.ahead = newAhead(after)
		s.ahead.link = link
	}
	// The last one stays, since an append completes the batch with one.
	for s.ahead.sent < min(len(records), BatchMax)-1 {
		r := records[s.ahead.sent]
		if err := l.conn.PublishMsg(s.draft.member(r, l.codec, s.ahead, s.ahead.sent)); err != nil {
			s.ahead = nil // the append will tell
			return
		}
		s.ahead.sent++
		s.ahead.last = &r.Body[0]
	}
}

// staged is the beginning of an append that was sent ahead; nil if there is none.
func (l *Log) staged(after uint64, records []events.Record) *ahead {
	s := &l.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.ahead
	s.ahead = nil
	if !taken.begins(records, after, l.link.Load()) {
		l.abandon(taken)
		return nil
	}
	return taken
}

// abandon has the server forget a beginning at once, of which it bears fifty at a time: a
// gap in a batch ends it.
func (l *Log) abandon(a *ahead) {
	if a == nil || a.sent == 0 {
		return
	}
	msg := nats.NewMsg(subjectPrefix + "abandoned")
	msg.Header.Set("Nats-Batch-Id", a.id)
	msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(a.sent+2))
	_ = l.conn.PublishMsg(msg) // it will be forgotten anyway
}

// begins tells whether these records are what was sent, and more.
func (a *ahead) begins(records []events.Record, after uint64, now *link) bool {
	return a != nil && a.sent > 0 && a.after == after && a.link == now && a.sent < len(records) &&
		a.last == &records[a.sent-1].Body[0]
}

package writer

import (
	"time"

	"truebond/events"
)

// alonePart of all room is left by commands that come together to those that come alone: nobody waits for a bulk.
const alonePart = 8

// full tells whether there is no room for so many more commands. Hold mu.
func (w *Writer) full(more int, urgent bool) bool {
	leaves := func(room int) int {
		if more <= 1 {
			return 0
		}
		return room / alonePart
	}
	last, stored := w.last.Load(), w.stored.Stored()
	if len(w.underWay)+more > w.limits.Queue-leaves(w.limits.Queue) || w.behind.Load() ||
		w.room(last) < uint64(more+leaves(int(w.limits.Lag))) { // #nosec G115 -- both are small
		return true
	}
	far := w.limits.Far > 0 && last > stored+w.limits.Far
	holds := w.brake.holds(stored, far)
	return holds && !urgent && !w.brake.lets(more, leaves(atOnceMax))
}

// urgent are commands that are not held back: a call's next minute, and what people have paid.
func (c Command) urgent() bool {
	return c.Actor.Kind == events.ActorSystem || c.Actor.Kind == events.ActorStripe
}

// room is how many events may come behind a position before the stored documents are
// too far behind.
func (w *Writer) room(position uint64) uint64 {
	if stored := w.stored.Stored(); position > stored {
		return w.limits.Lag - min(position-stored, w.limits.Lag)
	}
	return w.limits.Lag
}

// A brake holds commands back while they come faster than the documents are stored. Whoever has written waits with
// the next read for the views, in vain when these are far behind. A burst may put them there. When that
// lasts, no more commands are let in than a part of what is stored meanwhile. Views that stand still come no nearer
// by that: then nobody is held back.
type brake struct {
	far    time.Time // since when the stored documents are far behind; zero: they are not
	until  time.Time // the brake is on
	stored uint64    // up to which position they were seen
	moved  time.Time // when that was another one before
	earned int       // how many may come for what was stored
}

const (
	burstMax  = 10 * time.Second // for so long they may be far behind
	calmMin   = 30 * time.Second // without anybody who is held back, until they may be again
	standsMin = 10 * time.Second // without anything that is stored, and they stand still
	restPart  = 2                // of what is stored: so much nearer they come
	atOnceMax = 3000             // that are earned
)

// holds looks how far the stored documents are, and tells whether commands are held back.
func (b *brake) holds(stored uint64, far bool) bool {
	now := time.Now()
	if stored > b.stored {
		more := min(stored-b.stored, atOnceMax)
		b.earned = min(b.earned+int(more-more/restPart), atOnceMax) // #nosec G115 -- both are small
		b.stored, b.moved = stored, now
	}
	switch {
	case !far:
		b.far = time.Time{}
	case b.far.IsZero():
		b.far = now
	case now.Sub(b.far) > burstMax:
		b.until = now.Add(calmMin)
	}
	return far && now.Before(b.until) && now.Sub(b.moved) < standsMin
}

// lets lets so many commands in, if they were earned with some more.
func (b *brake) lets(commands, more int) bool {
	if b.earned < commands+more {
		b.until = time.Now().Add(calmMin)
		return false
	}
	b.earned -= commands
	return true
}

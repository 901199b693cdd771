package writer

import (
	"time"

	"truebond/events"
)

// alonePart of all room is left by commands that come together to those that come alone: nobody waits for a bulk.
const alonePart = 8

// admit takes so many more commands in, or refuses all of them: ErrOverloaded. Apps' are held back when others are
// not. Hold mu.
func (w *Writer) admit(more int, by events.ActorKind) error {
	leave := func(room int) int {
		if more <= 1 {
			return 0
		}
		return room / alonePart
	}
	last, stored := w.last.Load(), w.stored.Stored()
	if len(w.underWay)+more > w.limits.Queue-leave(w.limits.Queue) || w.behind.Load() ||
		w.room(last) < uint64(more+leave(int(w.limits.Lag))) { // #nosec G115 -- both are small
		return ErrOverloaded
	}
	far := w.limits.Far > 0 && last > stored+w.limits.Far
	holds := w.brake.holds(stored, far)
	if holds && by == events.ActorApp && !w.brake.lets(more, leave(earnedMax)) {
		return ErrOverloaded
	}
	return nil
}

// room is how many events may come behind a position before the stored documents are
// too far behind.
func (w *Writer) room(position uint64) uint64 {
	if stored := w.stored.Stored(); position > stored {
		return w.limits.Lag - min(position-stored, w.limits.Lag)
	}
	return w.limits.Lag
}

// A brake holds apps' commands back while more come than documents are stored. Whoever has written waits with the
// next read for the views, in vain when these are far behind. A burst may put them there. When that lasts, half
// as many are let in as are stored meanwhile. Views that stand still come no nearer by that: then nobody is held
// back. People's own commands are not, which have limits for each of them: hanging up and logging out do not
// wait for an app; nor are Stripe's, an operator's, and the program's own, such as a call's next minute.
type brake struct {
	farSince time.Time // the stored documents are far behind; zero: they are not
	until    time.Time // it is on
	stored   uint64    // up to which position they were seen
	moves    bool      // they have come a stride further
	from     uint64    // than here
	since    time.Time // since then, within a while
	earned   int       // how many events were stored for which none was let in
}

const (
	burstMax  = 10 * time.Second // for so long they may be far behind
	calmMin   = 30 * time.Second // without anybody who is held back, until they may be again
	strideMax = 10 * time.Second // is the while for a stride; else they stand still
	stride    = 1000             // events
	price     = 2                // events are stored for each that is let in
	earnedMax = 3000             // events are let in at once: enough for a bulk
)

// holds looks how far the stored documents are, and tells whether commands are held back.
func (b *brake) holds(stored uint64, far bool) bool {
	now := time.Now()
	if stored > b.stored {
		b.earned = min(b.earned+int(min(stored-b.stored, price*earnedMax)), price*earnedMax) // #nosec G115 -- it is small
		b.stored = stored
	}
	if strides := stored >= b.from+stride; strides || now.Sub(b.since) > strideMax {
		b.moves, b.from, b.since = strides, stored, now
	}
	switch {
	case !far:
		b.farSince = time.Time{}
	case b.farSince.IsZero():
		b.farSince = now
	case now.Sub(b.farSince) > burstMax:
		b.until = now.Add(calmMin)
	}
	return far && b.moves && now.Before(b.until)
}

// lets lets so many commands in, if there is enough for them and for some that are left to others.
func (b *brake) lets(commands, left int) bool {
	if b.earned < price*(commands+left) {
		b.until = time.Now().Add(calmMin)
		return false
	}
	b.earned -= price * commands
	return true
}

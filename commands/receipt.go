package commands

import (
	"strings"

	"truebond/commands/writer"
	"truebond/events"
)

// A Receipt is embedded in the answer of every command that makes an event. It is not
// part of the answer's body: http puts it into headers, and remembers it so that the
// next read of the caller, and of all whom the event is about, sees this write.
type Receipt struct {
	Position uint64 `json:"-"` // the event's place in the log; the log's end if all was so already
	Replayed bool   `json:"-"` // the event was there already: this is the first answer again

	others []events.Actor // whom it is about
}

// receiptOrEnd is receipt, or the log's end where there was nothing to do: what was so already may be so
// by an event that its caller was never told of, and is to see.
func (s *Service) receiptOrEnd(d writer.Done) Receipt {
	if d.Event.Data == nil {
		return Receipt{Position: s.Writer.Last()}
	}
	return receipt(d)
}

// receipt is what goes with the answer of a command.
func receipt(d writer.Done) Receipt {
	r := Receipt{Position: d.Event.Position, Replayed: d.Replayed}
	for _, subject := range d.Event.Data.Subjects() {
		if strings.HasPrefix(subject, userPrefix) {
			r.others = append(r.others, events.Actor{Kind: events.ActorUser, ID: subject})
		}
	}
	return r
}

// alsoFor is a receipt by which somebody else is to see the write, too.
func (r Receipt) alsoFor(who events.Actor) Receipt {
	r.others = append(r.others, who)
	return r
}

// ReceiptOf is what a command came to.
func (r Receipt) ReceiptOf() (position uint64, replayed bool) { return r.Position, r.Replayed }

// RememberFor are those beside the caller who are to see the write.
func (r Receipt) RememberFor() []events.Actor { return r.others }

package ledger

import (
	"slices"
	"time"

	"truebond/events"
)

// A HoldState is credits that are set aside for something that may come.
type HoldState struct {
	ID        string     `json:"id"`
	Use       string     `json:"use"` // what they would be spent on
	ExpiresAt time.Time  `json:"expires_at"`
	Parts     []HoldPart `json:"parts"` // in the order of spending
}

// A HoldPart is what a hold has set aside in one lot.
type HoldPart struct {
	Lot     string `json:"lot"`
	Credits int64  `json:"credits"`
}

// Credits is how many credits the hold has set aside.
func (h HoldState) Credits() int64 {
	var credits int64
	for _, p := range h.Parts {
		credits += p.Credits
	}
	return credits
}

// Hold is a hold that has not ended yet.
func (a Account) Hold(id string) (h HoldState, found bool) {
	at := a.holdAt(id)
	if at < 0 {
		return HoldState{}, false
	}
	return a.Holds[at], true
}

// Reserve sets credits aside, as they would be spent. It refuses when fewer are
// available, and while there is a debt (`insufficient_credits`), and an id that another
// hold has (`hold_exists`).
func (a Account) Reserve(hold string, credits int64, use string, expires, now time.Time) (Effect, error) {
	if err := checkUse(use); err != nil {
		return Effect{}, err
	}
	switch {
	case hold == "":
		return Effect{}, Refuse(CodeInvalidRequest, "A hold needs an id.").About("hold")
	case !expires.After(now):
		return Effect{}, Refuse(CodeInvalidRequest, "The hold's time is over already.").About("expires_at")
	case a.holdAt(hold) >= 0:
		return Effect{}, Refuse(CodeHoldExists, "There is a hold of this id.").About("hold")
	}
	var few [4]lotPart
	parts, available, err := a.pick(few[:0], credits, now)
	if err != nil {
		return Effect{}, err
	}
	moves := make([]events.Move, 0, len(parts))
	for _, p := range parts {
		lot := a.Lots[p.at].ID
		moves = append(moves, events.Move{
			From: events.LotOf(a.User, lot), To: events.HeldOf(a.User, lot),
			Asset: events.Credit, Amount: p.credits,
		})
	}
	return Effect{Moves: moves, Available: available - credits}, nil
}

// Capture spends credits of a hold and gives the rest back; the hold ends. It refuses a
// hold that has ended (`hold_not_found`) or whose time is over (`hold_expired`), and
// more than was set aside (`hold_too_small`). A debt does not stop it: these credits
// were set aside before.
func (a Account) Capture(hold string, credits int64, now time.Time) (Effect, error) {
	if err := checkCredits(credits); err != nil {
		return Effect{}, err
	}
	h, found := a.Hold(hold)
	switch {
	case !found:
		return Effect{}, noSuchHold()
	case !now.Before(h.ExpiresAt):
		return Effect{}, Refuse(CodeHoldExpired, "The hold's time is over.").About("hold")
	case credits > h.Credits():
		held := h.Credits()
		return Effect{}, Refuse(CodeHoldTooSmall, "%s to be captured and the hold has %d.", creditsAre(credits), held).
			About("credits").With("held", held).With("required", credits)
	}
	return a.effect(a.captured(hold, credits), now), nil
}

// Release gives a hold's credits back to the lots that they came from, which pay debts
// first; the hold ends. It refuses a hold that has ended (`hold_not_found`).
func (a Account) Release(hold string, now time.Time) (Effect, error) {
	if a.holdAt(hold) < 0 {
		return Effect{}, noSuchHold()
	}
	return a.effect(a.captured(hold, 0), now), nil
}

// captured ends a hold, of which credits are spent, the first parts first.
func (a Account) captured(hold string, credits int64) Account {
	at := a.holdAt(hold)
	if at < 0 {
		return a
	}
	h := a.Holds[at]
	a.Holds = slices.Concat(a.Holds[:at], a.Holds[at+1:]) // nil when it was the last one
	a.Lots = slices.Clone(a.Lots)
	for _, p := range h.Parts {
		l := a.own(p.Lot)
		if l == nil {
			continue
		}
		l.Held -= p.Credits
		if part := min(p.Credits, credits); part > 0 {
			l.spend(part, h.Use)
			credits -= part
		}
	}
	a.settle()
	return a
}

func (a Account) holdAt(id string) int {
	return slices.IndexFunc(a.Holds, func(h HoldState) bool { return h.ID == id })
}

func noSuchHold() error {
	return Refuse(CodeHoldNotFound, "There is no such hold; it may have ended.").About("hold")
}

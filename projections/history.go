package projections

import (
	"strings"

	"truebond/events"
)

// A HistoryEntry is one line of a user's statement.
type HistoryEntry struct {
	Position  uint64 `json:"position"`
	Type      string `json:"type"`
	Credits   int64  `json:"credits"`   // what the user's free credits gained or lost
	Available int64  `json:"available"` // after it
	Reason    string `json:"reason"`
	Key       string `json:"key"`
	At        int64  `json:"at"` // milliseconds
}

// History is what has changed each user's credits, under `<user>/<position>`.
var History = events.Fold[HistoryEntry]{
	Name:    "history",
	Version: 1,
	Keys: func(e events.Event) []string {
		change, ok := e.Data.(events.BalanceChange)
		if !ok || len(e.Moves) == 0 {
			return nil
		}
		user, _ := change.Leaves()
		return []string{user + "/" + PositionID(e.Position)}
	},
	Evolve: func(_ HistoryEntry, _ string, e events.Event) (HistoryEntry, bool) {
		change, _ := e.Data.(events.BalanceChange)
		user, available := change.Leaves()
		return HistoryEntry{
			Position: e.Position, Type: e.Data.Type(), Credits: gained(user, e.Moves), Available: available,
			Reason: reason(e.Data), Key: e.Key, At: Millis(e.Time),
		}, true
	},
}

// gained is what a user's free credits gained by moves, less what they lost.
func gained(user string, moves []events.Move) int64 {
	own := func(a events.Account) bool { return a.User() == user && a.Class() != "user/held" }
	var credits int64
	for _, m := range moves {
		if own(m.To) {
			credits += m.Amount
		}
		if own(m.From) {
			credits -= m.Amount
		}
	}
	return credits
}

// reason is why, in words for the user.
func reason(p events.Payload) string {
	switch d := p.(type) {
	case events.CreditsDeducted:
		return d.Reason
	case events.SpendUndone:
		return d.Reason
	case events.DebtForgiven:
		return d.Reason
	case events.UserSignedUp:
		return "signing-up bonus"
	case events.PaymentGranted:
		return "purchase"
	case events.CallAccepted, events.CallCharged:
		return "call"
	case events.MessageSent:
		return "message"
	}
	return strings.NewReplacer(".", " ", "_", " ").Replace(p.Type())
}

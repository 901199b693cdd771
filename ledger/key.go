package ledger

import "truebond/events"

// A UsedKey says which event a key has made. There is one for each event, for ever.
type UsedKey struct {
	Position uint64 `json:"position"`
	Request  []byte `json:"request,omitempty"` // the event's; nil if any request may come again
}

// Keys are the keys that were used.
var Keys = events.Fold[UsedKey]{
	Name:    "keys",
	Version: 1,
	Keys:    func(e events.Event) []string { return []string{e.Key} },
	Evolve: func(_ UsedKey, _ string, e events.Event) (UsedKey, bool) {
		return UsedKey{Position: e.Position, Request: e.Request}, true
	},
}

package ledger

import (
	"unicode/utf8"

	"truebond/events"
)

// What an API key may do.
const (
	ScopeDeduct   = "credits:deduct"
	ScopeOperator = "operator" // all that the operator's socket may do
)

// APIKeyNameMax bounds a key's name, in characters.
const APIKeyNameMax = 100

// An APIKey is a key for a server of the app's. The key itself is kept nowhere.
type APIKey struct {
	ID      string   `json:"id"` // empty: there is no such key
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Revoked bool     `json:"revoked,omitempty"`
}

// APIKeys are all API keys, by their HMAC.
var APIKeys = events.Fold[APIKey]{
	Name:    "api_keys",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.APIKeyCreated:
			return []string{d.Hash}
		case events.APIKeyRevoked:
			return []string{d.Hash}
		}
		return nil
	},
	Evolve: func(k APIKey, _ string, e events.Event) (APIKey, bool) {
		switch d := e.Data.(type) {
		case events.APIKeyCreated:
			return APIKey{ID: d.APIKey, Name: d.Name, Scopes: d.Scopes}, true
		case events.APIKeyRevoked:
			k.Revoked = true
		}
		return k, true
	},
}

// CreateAPIKey makes a key known. Only an operator may ask for it. It refuses a name that
// is missing or too long and a scope that there is not (`invalid_request`).
func CreateAPIKey(k events.APIKeyCreated) Decision {
	return func(*Tx) (events.Payload, []events.Move, error) {
		if n := utf8.RuneCountInString(k.Name); n < 1 || n > APIKeyNameMax {
			return nil, nil, Refuse(CodeInvalidRequest, "The name must have 1 to %d characters.", APIKeyNameMax).
				About("name")
		}
		if !allOf(k.Scopes, ScopeDeduct, ScopeOperator) {
			return nil, nil, Refuse(CodeInvalidRequest, "The scopes are %s and %s.", ScopeDeduct, ScopeOperator).
				About("scopes")
		}
		return k, nil, nil
	}
}

// RevokeAPIKey makes the key with this hash useless. One that is so already is refused
// with `nothing_to_do`.
func RevokeAPIKey(hash string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		switch k := Load(tx, APIKeys, hash); {
		case k.ID == "":
			return nil, nil, notFound("API key")
		case k.Revoked:
			return nil, nil, Refuse(CodeNothingToDo, "The key is revoked already.")
		default:
			return events.APIKeyRevoked{APIKey: k.ID, Hash: hash}, nil, nil
		}
	}
}

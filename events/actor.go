package events

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// An Actor is who asked for an event. Its text is `kind/id`, or the kind alone.
type Actor struct {
	Kind ActorKind
	ID   string // empty for the kinds that are one of a kind
}

// ActorKind is the closed set of those who can ask for something.
type ActorKind string

// The kinds of actors.
const (
	ActorUser     ActorKind = "user"     // a person with a session
	ActorApp      ActorKind = "app"      // a server with an API key
	ActorStripe   ActorKind = "stripe"   // a webhook whose signature was verified
	ActorOperator ActorKind = "operator" // whoever may use the operator's socket
	ActorSystem   ActorKind = "system"   // the server itself: timers, the watch over calls, seeds
)

// System is the server itself.
var System = Actor{Kind: ActorSystem}

func (a Actor) String() string {
	if a.ID == "" {
		return string(a.Kind)
	}
	return string(a.Kind) + "/" + a.ID
}

// isKnown tells whether an actor's text is read as the same actor.
func (a Actor) isKnown() bool {
	return a.Kind.isKnown() && utf8.ValidString(a.ID)
}

func (k ActorKind) isKnown() bool {
	switch k {
	case ActorUser, ActorApp, ActorStripe, ActorOperator, ActorSystem:
		return true
	}
	return false
}

// MarshalText writes `kind/id`.
func (a Actor) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote and refuses an unknown kind.
func (a *Actor) UnmarshalText(text []byte) error {
	kind, id, _ := strings.Cut(string(text), "/")
	if !ActorKind(kind).isKnown() {
		return fmt.Errorf("unknown kind of actor %q", kind)
	}
	*a = Actor{Kind: ActorKind(kind), ID: id}
	return nil
}

package ledger

import (
	"time"

	"truebond/events"
)

// A Session is a log-in and the one refresh token of it that is good. It goes by the
// wall clock, also under a test clock.
type Session struct {
	User        string    `json:"user"` // empty: there is no such session
	RefreshHash string    `json:"refresh_hash"`
	ExpiresAt   time.Time `json:"expires_at"` // unless refreshed
	Ended       bool      `json:"ended,omitempty"`
}

// Live tells whether the session's tokens are good, as far as the session knows: that
// of an erased user is not, which only the user's document says.
func (s Session) Live(wallNow time.Time) bool {
	return s.User != "" && !s.Ended && wallNow.Before(s.ExpiresAt)
}

// Sessions are all sessions, by id.
var Sessions = events.Fold[Session]{
	Name:    "sessions",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.UserSignedUp:
			return []string{d.Session.ID}
		case events.SessionStarted:
			return []string{d.Session.ID}
		case events.SessionRefreshed:
			return []string{d.Session.ID}
		case events.SessionEnded:
			return []string{d.Session}
		}
		return nil
	},
	Evolve: func(s Session, _ string, e events.Event) (Session, bool) {
		switch d := e.Data.(type) {
		case events.UserSignedUp:
			return Session{User: d.User, RefreshHash: d.Session.RefreshHash, ExpiresAt: d.Session.ExpiresAt}, true
		case events.SessionStarted:
			return Session{User: d.User, RefreshHash: d.Session.RefreshHash, ExpiresAt: d.Session.ExpiresAt}, true
		case events.SessionRefreshed:
			s.RefreshHash, s.ExpiresAt = d.Session.RefreshHash, d.Session.ExpiresAt
		case events.SessionEnded:
			s.Ended = true
		}
		return s, true
	},
}

// StartSession logs a user in who has shown who they are.
func StartSession(user string, session events.Session) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkUser(tx, user, ""); err != nil {
			return nil, nil, err
		}
		return events.SessionStarted{User: user, Session: session}, nil, nil
	}
}

// RefreshSession gives a session its next refresh token for the one that is good, whose
// hash this is. Any other token of the session was spent before, so somebody has
// stolen one: the event is then SessionEnded. A session that is over, or whose user is
// erased, is refused (`session_ended`).
func RefreshSession(hash string, next events.Session, wallNow time.Time) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		s := Load(tx, Sessions, next.ID)
		if !s.Live(wallNow) || !Load(tx, Users, s.User).Active() {
			return nil, nil, Refuse(CodeSessionEnded, "The session has ended. Log in again.")
		}
		if s.RefreshHash != hash {
			return events.SessionEnded{User: s.User, Session: next.ID, Reason: events.EndedByReuse}, nil, nil
		}
		return events.SessionRefreshed{User: s.User, Session: next}, nil, nil
	}
}

// EndSession ends a session and every token of it. One that has ended is refused with
// `nothing_to_do`.
func EndSession(session, reason string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		switch s := Load(tx, Sessions, session); {
		case s.User == "":
			return nil, nil, notFound("session")
		case s.Ended:
			return nil, nil, Refuse(CodeNothingToDo, "The session has ended already.")
		default:
			return events.SessionEnded{User: s.User, Session: session, Reason: reason}, nil, nil
		}
	}
}

package events

import "time"

// A Session is a family of refresh tokens, of which the last one given is good.
type Session struct {
	ID          string    `json:"id"`
	RefreshHash string    `json:"refresh_hash"` // HMAC of the refresh token
	ExpiresAt   time.Time `json:"expires_at"`
}

// SessionStarted is a log-in. Its tokens survive a crash, since their hash is here.
type SessionStarted struct {
	User    string  `json:"user"`
	Session Session `json:"session"`
}

// SessionRefreshed gives a session its next refresh token; the old one is spent.
type SessionRefreshed struct {
	User    string  `json:"user"`
	Session Session `json:"session"`
}

// SessionEnded ends a session and every token of it.
type SessionEnded struct {
	User    string `json:"user"`
	Session string `json:"session"`
	Reason  string `json:"reason"` // EndedByLogout or EndedByReuse
}

// Why a session ended.
const (
	EndedByLogout = "logout"
	EndedByReuse  = "refresh_token_reused" // a spent token came back: somebody has stolen one
)

func (SessionStarted) Type() string   { return "session.started" }
func (SessionRefreshed) Type() string { return "session.refreshed" }
func (SessionEnded) Type() string     { return "session.ended" }

func (d SessionStarted) Subjects() []string   { return []string{d.User} }
func (d SessionRefreshed) Subjects() []string { return []string{d.User} }
func (d SessionEnded) Subjects() []string     { return []string{d.User} }

var sessionTypes = []Type{
	typeOf[SessionStarted](1),
	typeOf[SessionRefreshed](1),
	typeOf[SessionEnded](1),
}

package events

// UserBlocked says that a user wants nothing from another any more.
type UserBlocked struct {
	User    string `json:"user"`
	Blocked string `json:"blocked"`
}

// UserUnblocked takes a block back.
type UserUnblocked struct {
	User    string `json:"user"`
	Blocked string `json:"blocked"`
}

// Type names it on the wire.
func (UserBlocked) Type() string { return "user.blocked" }

// Type names it on the wire.
func (UserUnblocked) Type() string { return "user.unblocked" }

// Subjects are those whom it is about.
func (d UserBlocked) Subjects() []string { return []string{d.User, d.Blocked} }

// Subjects are those whom it is about.
func (d UserUnblocked) Subjects() []string { return []string{d.User, d.Blocked} }

var blockTypes = []Type{
	typeOf[UserBlocked](1),
	typeOf[UserUnblocked](1),
}

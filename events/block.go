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

func (UserBlocked) Type() string   { return "user.blocked" }
func (UserUnblocked) Type() string { return "user.unblocked" }

func (d UserBlocked) Subjects() []string   { return []string{d.User, d.Blocked} }
func (d UserUnblocked) Subjects() []string { return []string{d.User, d.Blocked} }

var blockTypes = []Type{
	typeOf[UserBlocked](1),
	typeOf[UserUnblocked](1),
}

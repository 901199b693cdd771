package events

// UserSignedUp is a new person, with their first session and, once a person, a bonus.
type UserSignedUp struct {
	User      string   `json:"user"`
	EmailHash string   `json:"email_hash"` // HMAC of the address: it is unique, and looked up by this
	Email     Sealed   `json:"email"`
	Name      Sealed   `json:"name"`
	BirthDate Sealed   `json:"birth_date"`
	Phone     *Sealed  `json:"phone,omitempty"`
	Password  Sealed   `json:"password"` // its argon2id hash
	Roles     []string `json:"roles"`
	Session   Session  `json:"session"`
	Bonus     *Lot     `json:"bonus,omitempty"` // nil if this person had one before
	Available int64    `json:"available"`       // the user's credits after it
}

// StaffCreated is a new admin or finance user, made by an operator.
type StaffCreated struct {
	User      string   `json:"user"`
	EmailHash string   `json:"email_hash"`
	Email     Sealed   `json:"email"`
	Name      Sealed   `json:"name"`
	Password  Sealed   `json:"password"`
	Roles     []string `json:"roles"`
}

// UserErased says that a person's data is to be unreadable from now on. Their key
// is destroyed because of it; their sums stay.
type UserErased struct {
	User   string `json:"user"`
	Reason string `json:"reason"`
}

func (UserSignedUp) Type() string { return "user.signed_up" }
func (StaffCreated) Type() string { return "staff.created" }
func (UserErased) Type() string   { return "user.erased" }

func (d UserSignedUp) Subjects() []string { return []string{d.User} }
func (d StaffCreated) Subjects() []string { return []string{d.User} }
func (d UserErased) Subjects() []string   { return []string{d.User} }

var userTypes = []Type{
	typeOf[UserSignedUp](1),
	typeOf[StaffCreated](1),
	typeOf[UserErased](1),
}

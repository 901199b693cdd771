package ledger

import (
	"time"

	"truebond/events"
)

// The roles of people. Who signs up is a user; staff are not.
const (
	RoleUser    = "user"
	RoleAdmin   = "admin"
	RoleFinance = "finance"
)

const (
	ageMin = 18  // years
	ageMax = 130 // years; beyond it somebody has mistyped
)

// A User is a person as decisions know them. What is personal stays sealed. Of an
// erased one only the id is left.
type User struct {
	ID        string         `json:"id"` // empty: there is no such user
	Roles     []string       `json:"roles,omitempty"`
	Erased    bool           `json:"erased,omitempty"`
	EmailHash string         `json:"email_hash,omitempty"`
	Email     events.Sealed  `json:"email,omitzero"`
	Name      events.Sealed  `json:"name,omitzero"`
	BirthDate events.Sealed  `json:"birth_date,omitzero"`
	Phone     *events.Sealed `json:"phone,omitempty"`
	Password  events.Sealed  `json:"password,omitzero"` // its argon2id hash
}

// Active tells whether there is such a user, and they are not erased.
func (u User) Active() bool { return u.ID != "" && !u.Erased }

// Users are all people, by id.
var Users = events.Fold[User]{
	Name:    "users",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.UserSignedUp:
			return []string{d.User}
		case events.StaffCreated:
			return []string{d.User}
		case events.UserErased:
			return []string{d.User}
		}
		return nil
	},
	Evolve: func(u User, _ string, e events.Event) (User, bool) {
		switch d := e.Data.(type) {
		case events.UserSignedUp:
			return User{
				ID: d.User, Roles: d.Roles, EmailHash: d.EmailHash, Email: d.Email, Name: d.Name,
				BirthDate: d.BirthDate, Phone: d.Phone, Password: d.Password,
			}, true
		case events.StaffCreated:
			return User{
				ID: d.User, Roles: d.Roles, EmailHash: d.EmailHash, Email: d.Email, Name: d.Name,
				Password: d.Password,
			}, true
		case events.UserErased:
			return User{ID: d.User, Erased: true}, true
		}
		return u, true
	},
}

// An EmailUse says whose an address is, or was: once that user is erased, it is free
// again. The bonus stays given, since it is given once a person.
type EmailUse struct {
	User       string `json:"user"`
	BonusGiven bool   `json:"bonus_given,omitempty"`
}

// Emails are the addresses in use, by their HMAC.
var Emails = events.Fold[EmailUse]{
	Name:    "emails",
	Version: 1,
	Keys: func(e events.Event) []string {
		switch d := e.Data.(type) {
		case events.UserSignedUp:
			return []string{d.EmailHash}
		case events.StaffCreated:
			return []string{d.EmailHash}
		}
		return nil
	},
	Evolve: func(u EmailUse, _ string, e events.Event) (EmailUse, bool) {
		switch d := e.Data.(type) {
		case events.UserSignedUp:
			return EmailUse{User: d.User, BonusGiven: u.BonusGiven || d.Bonus != nil}, true
		case events.StaffCreated:
			return EmailUse{User: d.User, BonusGiven: u.BonusGiven}, true
		}
		return u, true
	},
}

// NewUser is who wants to sign up. BirthDate is read to decide and goes nowhere; the
// event gets the sealed one.
type NewUser struct {
	User            string
	EmailHash       string // HMAC of the address
	BirthDate       string // `2000-01-31`
	Email           events.Sealed
	Name            events.Sealed
	SealedBirthDate events.Sealed
	Phone           *events.Sealed
	Password        events.Sealed
	Session         events.Session
	BonusLot        string // the id of the bonus's lot, if there is a bonus
}

// SignUp makes a user, starts their first session, and gives the bonus that the prices
// say, once a person. It refuses an address in use (`email_taken`), who is younger than
// 18 today in UTC (`under_age`), and a date that is none (`invalid_request`).
func SignUp(n NewUser) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		prices, err := loadPrices(tx)
		if err != nil {
			return nil, nil, err
		}
		if err := checkAge(n.BirthDate, tx.Now); err != nil {
			return nil, nil, err
		}
		email, err := loadFreeEmail(tx, n.EmailHash)
		if err != nil {
			return nil, nil, err
		}
		signedUp := events.UserSignedUp{
			User: n.User, EmailHash: n.EmailHash, Email: n.Email, Name: n.Name, BirthDate: n.SealedBirthDate,
			Phone: n.Phone, Password: n.Password, Roles: []string{RoleUser}, Session: n.Session,
		}
		if email.BonusGiven || prices.SignupBonus == 0 {
			return signedUp, nil, nil
		}
		lot := events.Lot{ID: n.BonusLot, Kind: events.Promotional, Credits: prices.SignupBonus}
		effect, err := Load(tx, Accounts, n.User).Grant(n.User, lot, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		signedUp.Bonus, signedUp.Available = &lot, effect.Available
		return signedUp, effect.Moves, nil
	}
}

// NewStaff is who is to work here.
type NewStaff struct {
	User      string
	EmailHash string
	Email     events.Sealed
	Name      events.Sealed
	Password  events.Sealed
	Roles     []string // admin, finance, or both
}

// CreateStaff makes an admin or finance user. Only an operator may ask for it. It
// refuses other roles (`invalid_request`) and an address in use (`email_taken`).
func CreateStaff(n NewStaff) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if !allOf(n.Roles, RoleAdmin, RoleFinance) {
			return nil, nil, Refuse(CodeInvalidRequest, "The roles of staff are admin and finance.").About("roles")
		}
		if _, err := loadFreeEmail(tx, n.EmailHash); err != nil {
			return nil, nil, err
		}
		return events.StaffCreated{
			User: n.User, EmailHash: n.EmailHash, Email: n.Email, Name: n.Name, Password: n.Password,
			Roles: n.Roles,
		}, nil, nil
	}
}

// EraseUser makes a person's data unreadable; their sums stay. It refuses who never
// was (`unknown_user`), who is erased already (`nothing_to_do`), and no reason.
func EraseUser(user, reason string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkReason(reason); err != nil {
			return nil, nil, err
		}
		switch u := Load(tx, Users, user); {
		case u.ID == "":
			return nil, nil, unknownUser("user_id")
		case u.Erased:
			return nil, nil, Refuse(CodeNothingToDo, "This user is erased already.")
		}
		return events.UserErased{User: user, Reason: reason}, nil, nil
	}
}

// ageAt is somebody's age in years at a time, both in UTC. Who was born on 29 February
// grows older on 1 March in years that have no such day.
func ageAt(born, now time.Time) int {
	born, now = born.UTC(), now.UTC()
	years := now.Year() - born.Year()
	if now.Month() < born.Month() || now.Month() == born.Month() && now.Day() < born.Day() {
		years--
	}
	return years
}

func checkAge(birthDate string, now time.Time) error {
	born, err := time.Parse(time.DateOnly, birthDate)
	if err != nil {
		return Refuse(CodeInvalidRequest, "The birth date must be a date like 2000-01-31.").About("birth_date")
	}
	switch age := ageAt(born, now); {
	case age > ageMax || born.After(now):
		return Refuse(CodeInvalidRequest, "The birth date cannot be anybody's.").About("birth_date")
	case age < ageMin:
		return Refuse(CodeUnderAge, "Only people of %d years or older can sign up.", ageMin).About("birth_date")
	}
	return nil
}

// loadFreeEmail refuses an address that an active user has.
func loadFreeEmail(tx *Tx, hash string) (EmailUse, error) {
	email := Load(tx, Emails, hash)
	if email.User != "" && Load(tx, Users, email.User).Active() {
		return email, Refuse(CodeEmailTaken, "There is an account with this e-mail address.").About("email")
	}
	return email, nil
}

// checkUser refuses who is not there, or not any more.
func checkUser(tx *Tx, user, field string) error {
	if !Load(tx, Users, user).Active() {
		return unknownUser(field)
	}
	return nil
}

func unknownUser(field string) error {
	return Refuse(CodeUnknownUser, "There is no such user.").About(field)
}

package commands

import (
	"context"
	"time"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// SignUp asks for a new account.
type SignUp struct {
	Email     string `json:"email"`
	Password  string `json:"password"`
	Name      string `json:"name"`
	BirthDate string `json:"birth_date"` // `2000-01-31`
	Phone     string `json:"phone,omitempty"`
}

func (in SignUp) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Email, emailRules...),
		validation.Field(&in.Password, passwordRules...),
		validation.Field(&in.Name, validation.Required, validation.RuneLength(1, 100)),
		validation.Field(&in.BirthDate, validation.Required, validation.Date(time.DateOnly)),
		validation.Field(&in.Phone, validation.Match(phoneShape).Error("must be a phone number in the form +911234567890")),
	)
}

// SignUp makes an account, its first session and, once a person, its bonus.
func (s *Service) SignUp(ctx context.Context, in SignUp) (LoggedIn, error) {
	user, session := newID("usr"), newID("ses")
	email := normalEmail(in.Email)
	emailHash := s.Vault.Hash(ledger.PurposeEmail, email)
	key, request := "signup/"+user, []byte(nil)
	if caller := ledger.CallerOf(ctx); caller.IdempotencyKey != "" {
		key, request = "signup/"+emailHash+"/"+caller.IdempotencyKey, caller.Request
	}
	wish := ledger.NewUser{
		User: user, EmailHash: emailHash, BirthDate: in.BirthDate, BonusLot: newID("lot"),
		Session: s.newSession(session, key),
	}
	again, err := s.maySignUp(ctx, key, wish)
	if err != nil {
		return LoggedIn{}, err
	}
	if !again {
		if wish, err = s.sealed(ctx, key, wish, in); err != nil {
			return LoggedIn{}, err
		}
	}
	done, err := s.Writer.Do(ctx, writer.Command{
		Key: key, Actor: events.Actor{Kind: events.ActorUser, ID: user}, Request: request,
		Older: ledger.CallerOf(ctx).OlderRequest, Decide: ledger.SignUp(wish),
	})
	if err != nil {
		return LoggedIn{}, err
	}
	signedUp := done.Event.Data.(events.UserSignedUp)
	if done.Replayed {
		if err := s.isThere(ctx, signedUp.User); err != nil {
			return LoggedIn{}, err
		}
	}
	return s.loggedIn(done, User{ID: signedUp.User, Email: email, Name: in.Name, Roles: signedUp.Roles},
		signedUp.Session.ID, done.Event.Key)
}

// maySignUp asks the rules before a password is hashed and a key is made for somebody whom
// they will refuse. Who asks again with a key that was used needs neither.
func (s *Service) maySignUp(ctx context.Context, key string, n ledger.NewUser) (again bool, err error) {
	err = s.Writer.Look(ctx, func(tx *ledger.Tx) error {
		if again = ledger.Load(tx, ledger.Keys, key).Position != 0; again {
			return nil
		}
		_, _, err := ledger.SignUp(n)(tx)
		return err
	})
	return again, err
}

// sealed is a new user with what they have told of themselves, which is for nobody's eyes.
func (s *Service) sealed(ctx context.Context, key string, n ledger.NewUser, in SignUp) (ledger.NewUser, error) {
	hash, err := s.passwords.hash(ctx, in.Password)
	if err != nil {
		return n, err
	}
	seals := s.sealingFirst(ctx, n.User, key)
	n.Email, n.Name = seals.seal("email", normalEmail(in.Email)), seals.seal("name", in.Name)
	n.SealedBirthDate, n.Password = seals.seal("birth_date", in.BirthDate), seals.seal("password", hash)
	if in.Phone != "" {
		phone := seals.seal("phone", in.Phone)
		n.Phone = &phone
	}
	return n, seals.err
}

// isThere refuses who was erased.
func (s *Service) isThere(ctx context.Context, id string) (err error) {
	var user ledger.User
	err = s.look(ctx, func(tx *ledger.Tx) { user = ledger.Load(tx, ledger.Users, id) })
	if err == nil && !user.Active() {
		err = ErrErased
	}
	return err
}

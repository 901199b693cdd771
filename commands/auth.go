package commands

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// Tokens makes access tokens. See commands/token.
type Tokens interface {
	Mint(user, session string, roles []string) (token string, expires time.Duration, err error)
}

// Attempts slows down those who guess passwords. See commands/redis.
type Attempts interface {
	Locked(ctx context.Context, who string) (time.Duration, error)
	Failed(ctx context.Context, who string) error
	Succeeded(ctx context.Context, who string) error
}

// refreshTTL is how long a refresh token lives.
const refreshTTL = 30 * 24 * time.Hour

// What those who want a session may be refused for.
var (
	ErrLogin    = ledger.Refuse("login_failed", "The e-mail address or the password is wrong.")
	ErrLocked   = ledger.Refuse("login_locked", "There were too many failed attempts. Try again later.")
	ErrNoLimits = ledger.Refuse("limits_unavailable", "Nobody can log in at the moment. Try again in a moment.")
	ErrErased   = ledger.Refuse(ledger.CodeUnknownUser, "This account was erased.")
	ErrRefresh  = ledger.Refuse("refresh_failed", "The refresh token is not good any more. Log in again.")
)

// User is who somebody is, as they themselves see it.
type User struct {
	ID    string   `json:"id"`
	Email string   `json:"email"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

// LoggedIn are a person and the tokens of their session.
type LoggedIn struct {
	Receipt
	User         User   `json:"user"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"` // Bearer
	ExpiresIn    int64  `json:"expires_in"` // seconds that the access token lives
}

// LogIn asks for a session.
type LogIn struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	TOTP     string `json:"totp,omitempty"` // of accounts with a second factor
}

func (in LogIn) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Email, validation.Required, validation.Length(1, 254)),
		validation.Field(&in.Password, validation.Required, validation.RuneLength(1, 128)),
		validation.Field(&in.TOTP, validation.Length(6, 8)),
	)
}

// LogIn starts a session. Unknown addresses and wrong passwords get the same answer in
// the same time; five failures lock the address that tries for a while, not the owner.
func (s *Service) LogIn(ctx context.Context, in LogIn) (LoggedIn, error) {
	emailHash := s.Vault.Hash(ledger.PurposeEmail, normalEmail(in.Email))
	who := emailHash + "/" + s.Vault.Hash(ledger.PurposeAddress, Neighbourhood(ledger.CallerOf(ctx).Address))
	me, err := s.whoShows(ctx, emailHash, who, in.Password)
	if err != nil {
		return LoggedIn{}, err
	}
	session := newID("ses")
	key := "login/" + session
	done, err := s.Writer.Do(ctx, writer.Command{
		Key: key, Actor: events.Actor{Kind: events.ActorUser, ID: me.ID},
		Decide: ledger.StartSession(me.ID, s.newSession(session, key)),
	})
	if errors.Is(err, &ledger.Refusal{Code: ledger.CodeUnknownUser}) {
		return LoggedIn{}, ErrLogin // erased in this moment
	}
	if err != nil {
		return LoggedIn{}, err
	}
	return s.loggedIn(done, me, session, key)
}

// whoShows is the user of this address, provided that the password is theirs. Attempts
// take turns, so that those who try many at once are counted as well.
func (s *Service) whoShows(ctx context.Context, emailHash, who, password string) (User, error) {
	done, err := s.logins.take(ctx, who)
	if err != nil {
		return User{}, err
	}
	defer done()
	left, err := s.Attempts.Locked(ctx, who)
	if err != nil {
		return User{}, errors.Join(ErrNoLimits, err)
	}
	if left > 0 {
		return User{}, ErrLocked.With("retry_after", int64(math.Ceil(left.Seconds())))
	}
	me, fits, err := s.checkPassword(ctx, emailHash, password)
	if err != nil {
		return User{}, err
	}
	if !fits {
		if err := s.Attempts.Failed(ctx, who); err != nil {
			return User{}, errors.Join(ErrNoLimits, err)
		}
		return User{}, ErrLogin
	}
	if err := s.Attempts.Succeeded(ctx, who); err != nil {
		return User{}, errors.Join(ErrNoLimits, err)
	}
	return me, nil
}

// Refresh asks for new tokens.
type Refresh struct {
	RefreshToken string `json:"refresh_token"`
}

func (in Refresh) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.RefreshToken, validation.Required, validation.Length(1, 256)))
}

// Refresh gives a session its next pair of tokens. A refresh token that was used before
// has been stolen by somebody: its whole family ends (RFC 9700, 4.14.2).
func (s *Service) Refresh(ctx context.Context, in Refresh) (LoggedIn, error) {
	session, _, ok := strings.Cut(in.RefreshToken, ".")
	if !ok {
		return LoggedIn{}, ErrRefresh
	}
	hash := s.Vault.Hash(ledger.PurposeRefresh, in.RefreshToken)
	var known ledger.Session
	var user ledger.User
	if err := s.look(ctx, func(tx *ledger.Tx) {
		known = ledger.Load(tx, ledger.Sessions, session)
		user = ledger.Load(tx, ledger.Users, known.User)
	}); err != nil {
		return LoggedIn{}, err
	}
	if !user.Active() { // also where it is asked again for what was answered before
		return LoggedIn{}, ErrRefresh
	}
	me, err := s.openUser(ctx, user) // before the token is used up: who failed here would ask with it again
	if err != nil {
		return LoggedIn{}, err
	}
	key, request := "refresh/"+newID("key"), []byte(nil)
	if caller := ledger.CallerOf(ctx); caller.IdempotencyKey != "" {
		// Whoever has lost the answer may ask again: with the same key and the same token
		// they get the same tokens, and nobody has used one twice.
		key, request = "refresh/"+session+"/"+caller.IdempotencyKey, caller.Request
	}
	done, err := s.Writer.Do(ctx, writer.Command{
		Key: key, Actor: events.Actor{Kind: events.ActorUser, ID: known.User}, Request: request,
		Older: ledger.CallerOf(ctx).OlderRequest, Decide: ledger.RefreshSession(hash, s.newSession(session, key), time.Now()),
	})
	_, reused := done.Event.Data.(events.SessionEnded)
	if reused || errors.Is(err, &ledger.Refusal{Code: ledger.CodeSessionEnded}) {
		return LoggedIn{Receipt: s.endOf(ctx, session, known.User)}, ErrRefresh
	}
	if err != nil {
		return LoggedIn{}, err
	}
	return s.loggedIn(done, me, session, key)
}

// endOf has whoever has a session's access token see its end, however far behind the views are. Where
// they show it nobody needs to: an old token, in whosever hands, holds its user up no more.
func (s *Service) endOf(ctx context.Context, session, user string) Receipt {
	if shown, err := s.SessionOver(ctx, session); err == nil && shown {
		return Receipt{}
	}
	return Receipt{Position: s.Writer.Last()}.alsoFor(events.Actor{Kind: events.ActorUser, ID: user})
}

// Nothing is asked, or answered, beyond what the path says.
type Nothing struct{}

// LoggedOut tells where in the log a session's end stands.
type LoggedOut struct {
	Receipt
	LoggedOut bool `json:"logged_out"`
}

// LogOut ends the caller's session and all its tokens.
func (s *Service) LogOut(ctx context.Context, _ Nothing) (LoggedOut, error) {
	caller := ledger.CallerOf(ctx)
	done, err := s.ask(ctx, "logout/"+caller.Session, nil, ledger.EndSession(caller.Session, events.EndedByLogout))
	if err != nil && !isNothingToDo(err) {
		return LoggedOut{}, err
	}
	return LoggedOut{Receipt: s.receiptOrEnd(done), LoggedOut: true}, nil
}

// refreshToken is the token that an event gave a session. It can be worked out again,
// so that a replayed request is answered as the first one was.
func (s *Service) refreshToken(session, eventKey string) string {
	return session + "." + s.Vault.Hash(ledger.PurposeNewRefresh, session+"#"+eventKey)
}

// newSession is a session as an event under this key starts it, or goes on with it.
func (s *Service) newSession(session, eventKey string) events.Session {
	return events.Session{
		ID:          session,
		RefreshHash: s.Vault.Hash(ledger.PurposeRefresh, s.refreshToken(session, eventKey)),
		ExpiresAt:   time.Now().UTC().Add(refreshTTL).Truncate(time.Millisecond),
	}
}

func (s *Service) loggedIn(done writer.Done, user User, session, eventKey string) (LoggedIn, error) {
	token, expires, err := s.Tokens.Mint(user.ID, session, user.Roles)
	if err != nil {
		return LoggedIn{}, err
	}
	return LoggedIn{
		Receipt: receipt(done), User: user, AccessToken: token, RefreshToken: s.refreshToken(session, eventKey),
		TokenType: "Bearer", ExpiresIn: int64(expires.Seconds()),
	}, nil
}

// checkPassword tells whether a password is that of the user with this address, and who
// they are. No address, and one of a user who is erased, take as long and say no.
func (s *Service) checkPassword(ctx context.Context, emailHash, password string) (me User, fits bool, err error) {
	user, err := s.userByEmail(ctx, emailHash)
	if err != nil {
		return User{}, false, err
	}
	var hash string
	if user.Active() {
		if hash, err = s.Vault.Open(ctx, user.Password); err == nil {
			me, err = s.openUser(ctx, user)
		}
	}
	if err != nil { // an erasure that has come in between destroys the key
		again, lookErr := s.userByEmail(ctx, emailHash)
		if lookErr != nil || again.Active() {
			return User{}, false, errors.Join(err, lookErr)
		}
		hash = ""
	}
	fits, err = s.passwords.fits(ctx, password, hash)
	return me, fits, err
}

// userByEmail is whose address it is; not an active user if nobody's.
func (s *Service) userByEmail(ctx context.Context, emailHash string) (user ledger.User, err error) {
	err = s.look(ctx, func(tx *ledger.Tx) {
		user = ledger.User{}
		if id := ledger.Load(tx, ledger.Emails, emailHash).User; id != "" {
			user = ledger.Load(tx, ledger.Users, id)
		}
	})
	return user, err
}

// openUser reads a user's own data for them.
func (s *Service) openUser(ctx context.Context, user ledger.User) (User, error) {
	email, err := s.Vault.Open(ctx, user.Email)
	if err != nil {
		return User{}, err
	}
	name, err := s.Vault.Open(ctx, user.Name)
	if err != nil {
		return User{}, err
	}
	return User{ID: user.ID, Email: email, Name: name, Roles: user.Roles}, nil
}

// Neighbourhood is what shares an address's limits: in IPv6 the /64 that one customer has
// to themselves, since they may use any address of it.
func Neighbourhood(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	near, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return near.String()
}

// normalEmail is an address as it is compared: without white space around it, in lower case.
func normalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

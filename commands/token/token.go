// Package token makes and checks access tokens: JWTs of one algorithm (RFC 8725) and
// one type (RFC 9068). A token names a session; whether that still lives is asked
// elsewhere, at every request.
package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Lifetime is how long an access token is good for, if its session lives that long.
const Lifetime = 24 * time.Hour

const (
	issuer   = "truebond"
	audience = "truebond-api"
	typ      = "at+jwt"
	tokenMax = 4096 // bytes; ours have some 500

	// clocksApart is how far the clocks of a cluster's servers may differ for a token to be good
	// everywhere from its first moment on. It is not good for any longer by that.
	clocksApart = 5 * time.Second
)

// ErrInvalid is every reason to refuse a token; callers need not know which.
var ErrInvalid = errors.New("the access token is not valid")

// Tokens makes and checks access tokens by one secret.
type Tokens struct {
	key    []byte
	now    func() time.Time
	parser *jwt.Parser
}

// Claims is what a token says about who carries it.
type Claims struct {
	User      string
	Session   string
	Roles     []string // as they were when the token was made
	IssuedAt  time.Time
	ExpiresAt time.Time
}

type wireClaims struct {
	jwt.RegisteredClaims
	Session string   `json:"sid"`
	Roles   []string `json:"roles"`
}

// New makes and checks tokens with a key derived from a secret. Now is the wall clock,
// also under the test clock.
func New(secret string, now func() time.Time) *Tokens {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "truebond access token", sha256.Size)
	if err != nil {
		panic(err) // only a length beyond HKDF's can fail
	}
	return &Tokens{key: key, now: now, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithNotBeforeRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(clocksApart),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(now),
	)}
}

// Mint makes an access token for a user's session. It also says for how long it is good.
func (t *Tokens) Mint(user, session string, roles []string) (string, time.Duration, error) {
	if user == "" || session == "" {
		return "", 0, errors.New("an access token needs a user and a session")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", 0, fmt.Errorf("make a token's id: %w", err)
	}
	now := t.now().Truncate(time.Second)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, wireClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        id.String(),
			Issuer:    issuer,
			Subject:   user,
			Audience:  jwt.ClaimStrings{audience},
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(Lifetime)),
		},
		Session: session,
		Roles:   roles,
	})
	token.Header["typ"] = typ
	signed, err := token.SignedString(t.key)
	if err != nil {
		return "", 0, fmt.Errorf("sign a token: %w", err)
	}
	return signed, Lifetime, nil
}

// Verify tells whom a token speaks for. Its error is ErrInvalid, whatever is wrong.
func (t *Tokens) Verify(token string) (Claims, error) {
	if len(token) > tokenMax {
		return Claims{}, ErrInvalid
	}
	var c wireClaims
	parsed, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		if !plainHeader(parsed.Header) {
			return nil, ErrInvalid
		}
		return t.key, nil
	})
	if err != nil || !parsed.Valid || c.Subject == "" || c.Session == "" || c.IssuedAt == nil {
		return Claims{}, ErrInvalid
	}
	if c.ExpiresAt.Sub(c.IssuedAt.Time) > Lifetime || !t.now().Before(c.ExpiresAt.Time) {
		return Claims{}, ErrInvalid
	}
	return Claims{User: c.Subject, Session: c.Session, Roles: c.Roles,
		IssuedAt: c.IssuedAt.Time, ExpiresAt: c.ExpiresAt.Time}, nil
}

// A header says the algorithm and the type and nothing else: no key, and no place to
// fetch one from (jwk, jku, x5c, x5u, kid, crit).
func plainHeader(header map[string]any) bool {
	return len(header) == 2 && header["alg"] == jwt.SigningMethodHS256.Alg() && header["typ"] == typ
}

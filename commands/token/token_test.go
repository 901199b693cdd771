package token

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func TestATokenSaysWhomItWasMadeFor(t *testing.T) {
	token, expires, err := New("secret", at(noon)).Mint("usr_1", "ses_1", []string{"user", "admin"})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := New("secret", at(noon.Add(expires-time.Second))).Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	if claims.User != "usr_1" || claims.Session != "ses_1" || strings.Join(claims.Roles, " ") != "user admin" {
		t.Errorf("the token says %+v", claims)
	}
	if !claims.ExpiresAt.Equal(noon.Add(expires)) || expires > 24*time.Hour {
		t.Errorf("the token expires at %s, after %s", claims.ExpiresAt, expires)
	}
}

func TestATokenHasItsTime(t *testing.T) {
	token, expires, _ := New("secret", at(noon)).Mint("usr_1", "ses_1", nil)
	for name, now := range map[string]time.Time{
		"expired":     noon.Add(expires),
		"long ago":    noon.Add(365 * 24 * time.Hour),
		"not yet":     noon.Add(-clocksApart - time.Second),
		"much before": noon.Add(-24 * time.Hour),
	} {
		if _, err := New("secret", at(now)).Verify(token); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who has logged in at one server of a cluster is let in by another one, whose clock is behind.
func TestATokenIsGoodBeforeAnotherClockHasGotThere(t *testing.T) {
	for _, behind := range []time.Duration{20 * time.Millisecond, time.Second, clocksApart} {
		token, _, _ := New("secret", at(noon)).Mint("usr_1", "ses_1", nil)
		if _, err := New("secret", at(noon.Add(-behind))).Verify(token); err != nil {
			t.Errorf("%v behind: %v", behind, err)
		}
	}
}

func TestATokenOfAnotherSecretIsRefused(t *testing.T) {
	token, _, _ := New("secret", at(noon)).Mint("usr_1", "ses_1", nil)
	if _, err := New("Secret", at(noon)).Verify(token); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestMintNeedsAUserAndASession(t *testing.T) {
	for _, who := range [][2]string{{"", "ses_1"}, {"usr_1", ""}} {
		if _, _, err := New("secret", at(noon)).Mint(who[0], who[1], nil); err == nil {
			t.Errorf("made a token for %q", who)
		}
	}
}

// Each forger starts from a good token's header and claims and signs with our own key:
// what is refused is refused for the one thing that was changed.
func TestForgedTokensAreRefused(t *testing.T) {
	tokens := New("secret", at(noon))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hs256, none := jwt.SigningMethod(jwt.SigningMethodHS256), jwt.SigningMethod(jwt.SigningMethodNone)
	var unsafeKey any = jwt.UnsafeAllowNoneSignatureType
	for name, forge := range map[string]struct {
		method jwt.SigningMethod
		key    any
		header map[string]any
		claims map[string]any // nil takes the claim away
	}{
		"alg none":           {method: none, key: unsafeKey},
		"alg None":           {method: none, key: unsafeKey, header: map[string]any{"alg": "None"}},
		"alg HS384":          {method: jwt.SigningMethodHS384},
		"alg HS512":          {method: jwt.SigningMethodHS512},
		"alg RS256":          {method: jwt.SigningMethodRS256, key: rsaKey},
		"alg of another":     {method: hs256, header: map[string]any{"alg": "HS512"}},
		"typ JWT":            {method: hs256, header: map[string]any{"typ": "JWT"}},
		"typ of a refresh":   {method: hs256, header: map[string]any{"typ": "rt+jwt"}},
		"no typ":             {method: hs256, header: map[string]any{"typ": nil}},
		"jku":                {method: hs256, header: map[string]any{"jku": "https://evil.example/keys"}},
		"x5u":                {method: hs256, header: map[string]any{"x5u": "https://evil.example/cert"}},
		"jwk":                {method: hs256, header: map[string]any{"jwk": map[string]any{"kty": "oct", "k": "AA"}}},
		"kid":                {method: hs256, header: map[string]any{"kid": "../../dev/null"}},
		"crit":               {method: hs256, header: map[string]any{"crit": []string{"exp"}}},
		"another issuer":     {method: hs256, claims: map[string]any{"iss": "evil"}},
		"no issuer":          {method: hs256, claims: map[string]any{"iss": nil}},
		"another audience":   {method: hs256, claims: map[string]any{"aud": "evil"}},
		"no audience":        {method: hs256, claims: map[string]any{"aud": nil}},
		"no expiry":          {method: hs256, claims: map[string]any{"exp": nil}},
		"no not-before":      {method: hs256, claims: map[string]any{"nbf": nil}},
		"no issue time":      {method: hs256, claims: map[string]any{"iat": nil}},
		"issued later":       {method: hs256, claims: map[string]any{"iat": noon.Add(time.Hour).Unix()}},
		"more than 24 hours": {method: hs256, claims: map[string]any{"exp": noon.Add(25 * time.Hour).Unix()}},
		"no user":            {method: hs256, claims: map[string]any{"sub": nil}},
		"no session":         {method: hs256, claims: map[string]any{"sid": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "usr_1", "sid": "ses_1",
				"iat": noon.Unix(), "nbf": noon.Unix(), "exp": noon.Add(time.Hour).Unix()}
			token := jwt.NewWithClaims(forge.method, claims)
			token.Header["typ"] = typ
			change(token.Header, forge.header)
			change(claims, forge.claims)
			key := forge.key
			if key == nil {
				key = tokens.key
			}
			signed, err := token.SignedString(key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tokens.Verify(signed); !errors.Is(err, ErrInvalid) {
				t.Errorf("verified with %v: %s", err, signed)
			}
		})
	}
	t.Run("unchanged", func(t *testing.T) {
		claims := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "usr_1", "sid": "ses_1",
			"iat": noon.Unix(), "nbf": noon.Unix(), "exp": noon.Add(time.Hour).Unix()}
		token := jwt.NewWithClaims(hs256, claims)
		token.Header["typ"] = typ
		signed, _ := token.SignedString(tokens.key)
		if _, err := tokens.Verify(signed); err != nil {
			t.Errorf("the forgers' starting point is refused: %v", err)
		}
	})
}

func change(members, changes map[string]any) {
	for name, value := range changes {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
}

func TestAnyChangedByteIsRefused(t *testing.T) {
	tokens := New("secret", at(noon))
	token, _, _ := tokens.Mint("usr_1", "ses_1", []string{"user"})
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(token)-1).Draw(t, "place")
		b := rapid.Byte().Draw(t, "byte")
		changed := token[:i] + string([]byte{b}) + token[i+1:]
		if _, err := tokens.Verify(changed); err == nil && changed != token {
			t.Fatalf("verified %q", changed)
		}
	})
}

func TestHeaderIsWhatRFC9068Says(t *testing.T) {
	token, _, _ := New("secret", at(noon)).Mint("usr_1", "ses_1", nil)
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]string
	if err := json.Unmarshal(raw, &header); err != nil || header["alg"] != "HS256" || header["typ"] != "at+jwt" {
		t.Errorf("header %s, %v", raw, err)
	}
}

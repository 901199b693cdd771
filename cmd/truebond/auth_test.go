package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
)

var embedded = everywhere[0]

// newcomer is a sign-up that is good, with some members set otherwise; nil leaves one out.
func newcomer(changes map[string]any) map[string]any {
	body := map[string]any{
		"email": "new@example.com", "password": password, "name": "New Comer", "birth_date": "1990-02-28",
		"phone": "+911234567890",
	}
	maps.Copy(body, changes)
	maps.DeleteFunc(body, func(_ string, value any) bool { return value == nil })
	return body
}

func TestASignUpThatIsNotGoodNamesTheFieldAndChangesNothing(t *testing.T) {
	w := begin(t, embedded)
	before := w.position()
	for _, c := range []struct {
		field  string
		value  any
		status int
	}{
		{"email", nil, 422}, {"email", "nobody", 422}, {"email", "Ann <ann@example.com>", 422}, {"email", 7, 400},
		{"password", nil, 422}, {"password", "short", 422}, {"password", "Password12345!", 422},
		{"name", "", 422}, {"name", strings.Repeat("n", 101), 422},
		{"birth_date", nil, 422}, {"birth_date", "28.02.1990", 422}, {"birth_date", "1990-02-30", 422},
		{"birth_date", time.Now().AddDate(-18, 0, 1).Format(time.DateOnly), 422}, {"birth_date", "1850-01-01", 422},
		{"phone", "0123", 422}, {"roles", []string{"admin"}, 400}, {"name", nil, 422},
	} {
		a := w.ask("POST", "/api/auth/signup", "", newcomer(map[string]any{c.field: c.value}))
		a.is(c.status).says("errors.0.pointer", "#/"+c.field, "errors.1.pointer", "")
	}
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
}

func TestWhoIsEighteenTodayMaySignUp(t *testing.T) {
	w := begin(t, embedded)
	today := time.Now().UTC().AddDate(-18, 0, 0).Format(time.DateOnly)
	w.ask("POST", "/api/auth/signup", "", newcomer(map[string]any{"birth_date": today})).is(201)
}

func TestAnAddressIsTakenHoweverItIsWritten(t *testing.T) {
	w := begin(t, embedded)
	w.ask("POST", "/api/auth/signup", "", newcomer(nil)).is(201).says("user.email", "new@example.com")
	for _, email := range []string{"new@example.com", "NEW@Example.COM", "  new@example.com ",
		"\tNew@example.com"} {
		w.ask("POST", "/api/auth/signup", "", newcomer(map[string]any{"email": email})).is(409).
			says("code", "email_taken", "errors.0.pointer", "#/email")
		w.logsIn(email, password).is(200).says("user.email", "new@example.com")
	}
}

func (w *world) logsIn(email, with string, headers ...string) answer {
	w.t.Helper()
	return w.ask("POST", "/api/auth/login", "", map[string]any{"email": email, "password": with}, headers...)
}

func TestALogInTellsNobodyWhoIsHere(t *testing.T) {
	w := begin(t, embedded)
	ann, gone := w.signsUp(), w.signsUp()
	w.operate("/api/operator/erase", map[string]any{"user_id": gone.id, "reason": "asked for"}).is(200)
	wrong := withoutRequestID(w.logsIn(ann.email, "not the password").is(401))
	for _, email := range []string{"nobody@example.com", gone.email, "not an address"} {
		if unknown := withoutRequestID(w.logsIn(email, password).is(401)); !reflect.DeepEqual(unknown, wrong) {
			t.Errorf("%s is answered %v, a wrong password %v", email, unknown, wrong)
		}
	}
}

func withoutRequestID(a answer) map[string]any {
	delete(a.members, "request_id")
	return a.members
}

func TestFiveFailuresLockTheAddressThatTriesAndNotTheOwner(t *testing.T) {
	w := serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	ann := w.signsUp()
	guess, owner := []string{"X-Forwarded-For", "203.0.113.7"}, []string{"X-Forwarded-For", "203.0.113.8"}
	for range 4 {
		w.logsIn(ann.email, "a guess", guess...).is(401)
	}
	w.logsIn(ann.email, password, guess...).is(200) // which counts from the beginning again
	for range 5 {
		w.logsIn(ann.email, "a guess", guess...).is(401)
	}
	for _, with := range []string{"a guess", password} {
		a := w.logsIn(strings.ToUpper(ann.email), with, guess...).is(429).says("code", "login_locked")
		if wait := a.header.Get("Retry-After"); wait == "" || wait == "0" {
			t.Errorf("Retry-After is %q", wait)
		}
	}
	w.logsIn(ann.email, password, owner...).is(200)
	for range 5 {
		w.logsIn("nobody@example.com", "a guess", guess...).is(401)
	}
	w.logsIn("nobody@example.com", "a guess", guess...).is(429) // an unknown address is locked as well
}

func TestGuessesAtTheSameTimeAreCountedToo(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	var all sync.WaitGroup
	answers := make(chan int, 15)
	for range cap(answers) {
		all.Go(func() { answers <- w.logsIn(ann.email, "a guess").status })
	}
	all.Wait()
	close(answers)
	count := map[int]int{}
	for status := range answers {
		count[status]++
	}
	if count[401] != 5 || count[429] != 10 {
		t.Errorf("15 guesses at once are answered %v, want 5 of 401 and 10 of 429", count)
	}
}

func (w *world) refreshes(token string) answer {
	w.t.Helper()
	return w.ask("POST", "/api/auth/refresh", "", map[string]any{"refresh_token": token})
}

func TestARefreshTokenIsGoodOnceAndItsReuseEndsTheFamily(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	other := w.logsIn(ann.email, password).is(200)
	first := w.refreshes(ann.refresh).is(200).says("user.id", ann.id, "token_type", "Bearer")
	second := w.refreshes(first.get("refresh_token")).is(200)
	if first.get("refresh_token") == ann.refresh || second.get("refresh_token") == first.get("refresh_token") {
		t.Error("a refresh token stays the same")
	}
	w.ask("GET", "/api/auth/me", second.get("access_token"), nil).is(200)
	w.refreshes(ann.refresh).is(401).says("code", "refresh_failed")
	for _, a := range []answer{first, second} {
		w.ask("GET", "/api/auth/me", a.get("access_token"), nil).is(401)
		w.refreshes(a.get("refresh_token")).is(401)
	}
	w.ask("GET", "/api/auth/me", ann.token, nil).is(401)
	w.ask("GET", "/api/auth/me", other.get("access_token"), nil).is(200)
}

func TestASignUpAskedAgainMakesNoKeyAndIsAnsweredUntilTheErasure(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	keys, err := server.OpenKeys(t.Context(), "", datafolder.Folder{Path: data})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close(t.Context()) //nolint:errcheck // it was read alone
	signsUp := func() answer { return w.ask("POST", "/api/auth/signup", "", newcomer(nil), "Idempotency-Key", "once") }
	user := signsUp().is(201).get("user.id")
	signsUp().is(201).says("user.id", user)
	made, err := keys.Page(t.Context(), "", 10)
	if err != nil || len(made) != 1 || made[0].Owner != user {
		t.Errorf("keys were made for %v, and not for %s alone: %v", made, user, err)
	}
	w.operate("/api/operator/erase", map[string]any{"user_id": user, "reason": "asked for"}).is(200)
	signsUp().is(404).says("code", "unknown_user")
}

func TestNobodyWhoIsErasedGetsAnAnswerAgain(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	refreshes := func() answer {
		return w.ask("POST", "/api/auth/refresh", "", map[string]any{"refresh_token": ann.refresh}, "Idempotency-Key", "k")
	}
	first := refreshes().is(200)
	refreshes().is(200).says("refresh_token", first.get("refresh_token"))
	w.operate("/api/operator/erase", map[string]any{"user_id": ann.id, "reason": "asked for it"}).is(200)
	refreshes().is(401).says("code", "refresh_failed")
	w.refreshes(first.get("refresh_token")).is(401).says("code", "refresh_failed")
}

func TestRefreshTokensThatNobodyGaveAreRefused(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	session, _, _ := strings.Cut(ann.refresh, ".")
	before := w.position()
	for _, token := range []string{"x", ".", ".x", "ses_none.x", "\x00.x", "$where.x", "é.x",
		strings.Repeat("s", 200) + ".x"} {
		w.refreshes(token).is(401).says("code", "refresh_failed")
	}
	w.refreshes("").is(422)
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
	w.refreshes(session + ".made up").is(401) // a session's id is no secret: this one ends
	w.refreshes(ann.refresh).is(401)
}

func TestLoggingOutStopsTheTokensAtOnce(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	ann.get("/api/auth/me").is(200).
		says("id", ann.id, "email", ann.email, "name", "Some Body", "roles.0", "user")
	w.ask("POST", "/api/auth/logout", ann.token, nil).is(200).says("logged_out", true)
	ann.get("/api/auth/me").is(401)
	w.ask("POST", "/api/auth/logout", ann.token, nil).is(401)
	w.refreshes(ann.refresh).is(401)
}

func TestForgedTokensAreRefused(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	ann := w.signsUp()
	secret, err := datafolder.Folder{Path: data}.ReadSecret("jwt-secret")
	if err != nil {
		t.Fatal(err)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "truebond access token", sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(method jwt.SigningMethod, key any, header, changes map[string]any) string {
		claims := jwt.MapClaims{}
		if _, _, err := jwt.NewParser().ParseUnverified(ann.token, claims); err != nil {
			t.Fatal(err)
		}
		maps.Copy(claims, changes)
		token := jwt.NewWithClaims(method, claims)
		token.Header["typ"] = "at+jwt"
		maps.Copy(token.Header, header)
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	me := func(token string) answer { return w.ask("GET", "/api/auth/me", token, nil) }
	me(forge(jwt.SigningMethodHS256, key, nil, nil)).is(200) // the forger knows how
	past, parts := time.Now().Add(-25*time.Hour).Unix(), strings.Split(ann.token, ".")
	for name, token := range map[string]string{
		"no algorithm":      forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil),
		"HS512":             forge(jwt.SigningMethodHS512, key, nil, nil),
		"HS384":             forge(jwt.SigningMethodHS384, key, nil, nil),
		"another key":       forge(jwt.SigningMethodHS256, []byte("another"), nil, nil),
		"the secret itself": forge(jwt.SigningMethodHS256, []byte(secret), nil, nil),
		"a type of JWT":     forge(jwt.SigningMethodHS256, key, map[string]any{"typ": "JWT"}, nil),
		"a key's place":     forge(jwt.SigningMethodHS256, key, map[string]any{"jku": "http://localhost/"}, nil),
		"another audience":  forge(jwt.SigningMethodHS256, key, nil, map[string]any{"aud": "others"}),
		"another issuer":    forge(jwt.SigningMethodHS256, key, nil, map[string]any{"iss": "others"}),
		"over": forge(jwt.SigningMethodHS256, key, nil,
			map[string]any{"iat": past, "nbf": past, "exp": past + 86400}),
		"not yet": forge(jwt.SigningMethodHS256, key, nil,
			map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"no end": forge(jwt.SigningMethodHS256, key, nil, map[string]any{"exp": nil}),
		"a long life": forge(jwt.SigningMethodHS256, key, nil,
			map[string]any{"exp": time.Now().AddDate(1, 0, 0).Unix()}),
		"another user":      forge(jwt.SigningMethodHS256, key, nil, map[string]any{"sub": w.signsUp().id}),
		"no session":        forge(jwt.SigningMethodHS256, key, nil, map[string]any{"sid": ""}),
		"another session":   forge(jwt.SigningMethodHS256, key, nil, map[string]any{"sid": "ses_none"}),
		"a changed body":    parts[0] + "." + parts[1] + "A." + parts[2],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"its refresh token": ann.refresh,
	} {
		if a := me(token); a.status != 401 || a.get("code") != "invalid_token" {
			t.Errorf("%s: answered %d %s", name, a.status, a.body)
		}
	}
	// What somebody may do is their session's to say, not the token's.
	w.ask("GET", "/api/admin/audit", forge(jwt.SigningMethodHS256, key, nil,
		map[string]any{"roles": []string{"admin"}}), nil).is(403)
}

// position is how long the log is.
func (w *world) position() string {
	w.t.Helper()
	return w.metric("truebond_log_position")
}

// metric is what /metrics says of one thing.
func (w *world) metric(name string) string {
	w.t.Helper()
	for line := range strings.Lines(string(w.ask("GET", "/metrics", "", nil).is(200).body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	w.t.Fatalf("/metrics says nothing of %s", name)
	return ""
}

// listOf is a member of an answer that is a list.
func listOf[T any](a answer, member string) (list []T) {
	a.t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &members); err != nil {
		a.t.Fatal(fmt.Errorf("read %s: %w", a.body, err))
	}
	if err := json.Unmarshal(members[member], &list); err != nil {
		a.t.Fatal(fmt.Errorf("read %s of %s: %w", member, a.body, err))
	}
	return list
}

// equalJSON tells whether two values are written in the same way.
func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	nethttp "net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/commands/token"
	"truebond/ledger"
)

// A caller of each kind, on routes of each kind: who is let in stands in the table and
// nowhere else.
func TestEveryRouteLetsInWhomItsLineNames(t *testing.T) {
	lines := map[string][]option{
		"public":            {public},
		"user":              {user},
		"admin":             {admin},
		"finance":           {finance},
		"admin-or-finance":  {admin, finance},
		"deduct":            {app("credits:deduct")},
		"admin-or-deduct":   {admin, app("credits:deduct")},
		"operator":          {operator},
		"admin-or-operator": {admin, operator},
	}
	var routes []Route
	for name, words := range lines {
		routes = append(routes, get("/"+name, whoAsks, "Read", words...), post("/"+name, whoAsks, "Write", words...))
	}
	b := serving(t, routes)
	b.keys["tb_deduct"], b.keys["tb_other"] = []string{"credits:deduct"}, []string{"credits:read", "admin", "user"}
	b.keys["tb_operator"] = []string{"operator"}
	callers := map[string]struct {
		credential string
		is         []string // the words that name this caller
	}{
		"nobody":             {"", nil},
		"a user":             {b.as("usr_1", "user"), []string{"user"}},
		"an admin":           {b.as("usr_2", "user", "admin"), []string{"user", "admin"}},
		"an admin alone":     {b.as("usr_3", "admin"), []string{"admin"}},
		"finance":            {b.as("usr_4", "finance"), []string{"finance"}},
		"roles of no route":  {b.as("usr_5", "credits:deduct", "operator"), nil},
		"an app":             {"Bearer tb_deduct", []string{"deduct"}},
		"an app's other key": {"Bearer tb_other", nil},
		"an operator's key":  {"Bearer tb_operator", []string{"operator"}},
	}
	for who, caller := range callers {
		for name := range lines {
			words := strings.Split(name, "-or-")
			let := name == "public" || slices.ContainsFunc(words, func(w string) bool { return slices.Contains(caller.is, w) })
			for _, method := range []string{"GET", "POST"} {
				t.Run(fmt.Sprint(who, " ", method, " ", name), func(t *testing.T) {
					a := b.send(method, "/"+name, "", "Authorization", caller.credential)
					switch {
					case let:
						a.wants(t, 200, "")
					case caller.credential == "":
						a.wants(t, 401, "unauthorized")
					default:
						a.wants(t, 403, "forbidden")
					}
				})
			}
		}
	}
}

func TestALineThatMakesNoSenseIsFoundAtTheStart(t *testing.T) {
	type withID struct {
		ID string `param:"id"`
	}
	byID := func(context.Context, withID) (nothing, error) { return nothing{}, nil }
	for name, r := range map[string]Route{
		"nobody's":              get("/x", whoAsks, "Read"),
		"public and somebody's": get("/x", whoAsks, "Read", public, user),
		"no summary":            get("/x", whoAsks, "", user),
		"Echo's own parameters": get("/x/:id", whoAsks, "Read", user),
		"a parameter too many":  get("/x", byID, "Read", user),
		"a parameter too few":   get("/x/{id}", whoAsks, "Read", user),
		"a key for a read":      get("/x", whoAsks, "Read", user, once),
		"a key for anyone":      post("/x", whoAsks, "Write", public, once),
		"a GET with a body":     get("/x", writeNote, "Read", user),
		"raw without a field":   post("/x", whoAsks, "Write", public, rawBody),
	} {
		if err := r.prepare(); err == nil {
			t.Errorf("%s: the line was taken", name)
		}
	}
}

func TestTheGuardSaysWhoAsks(t *testing.T) {
	b := serving(t, []Route{post("/x", whoAsks, "Ask", user, app("a")), get("/x", whoAsks, "Ask", user)})
	b.keys["tb_key"] = []string{"a"}
	a := b.send("POST", "/x", "{}", "Authorization", b.as("usr_1", "user"), "Idempotency-Key", "k-1",
		"X-Request-Id", "r-1")
	a.wants(t, 200, "")
	got := a.json(t)
	for name, want := range map[string]string{"actor": "user/usr_1", "session": "ses_usr_1", "key": "k-1",
		"request_id": "r-1", "address": "127.0.0.1"} {
		if got[name] != want {
			t.Errorf("the %s is %q and not %q", name, got[name], want)
		}
	}
	for _, credential := range [][]string{{"Authorization", "bearer tb_key"}, {"X-API-Key", "tb_key"}} {
		if got := b.send("POST", "/x", "{}", credential...).json(t); got["actor"] != "app/key_key" {
			t.Errorf("%v is %v", credential, got)
		}
	}
	read := b.send("GET", "/x", "", "Authorization", b.as("usr_1", "user"), "Idempotency-Key", "k")
	if got := read.json(t)["key"]; got != "" {
		t.Errorf("a read has the key %q", got)
	}
}

func TestABadCredentialIsNone(t *testing.T) {
	b := serving(t, []Route{get("/x", whoAsks, "Ask", user, app("a"))})
	b.keys["tb_key"] = []string{"a"}
	good := b.as("usr_1", "user")
	b.sessions.start("ses_of_another", "usr_2", "user")
	other, _, _ := token.New("another secret", time.Now).Mint("usr_1", "ses_usr_1", nil)
	for name, c := range map[string]struct {
		headers []string
		code    string
	}{
		"none":                   {nil, "unauthorized"},
		"an empty one":           {[]string{"Authorization", "Bearer "}, "invalid_token"},
		"basic":                  {[]string{"Authorization", "Basic dXNyOnB3"}, "unauthorized"},
		"a token alone":          {[]string{"Authorization", strings.TrimPrefix(good, "Bearer ")}, "unauthorized"},
		"rubbish":                {[]string{"Authorization", "Bearer rubbish"}, "invalid_token"},
		"another secret's":       {[]string{"Authorization", "Bearer " + other}, "invalid_token"},
		"two of them":            {[]string{"Authorization", good, "Authorization", good}, "unauthorized"},
		"a token and a key":      {[]string{"Authorization", good, "X-API-Key", "tb_key"}, "unauthorized"},
		"an unknown key":         {[]string{"X-API-Key", "tb_nothing"}, "invalid_token"},
		"a key that is too long": {[]string{"X-API-Key", "tb_" + strings.Repeat("a", 1000)}, "invalid_token"},
		"a token as a key":       {[]string{"X-API-Key", strings.TrimPrefix(good, "Bearer ")}, "invalid_token"},
		"a session's of another": {[]string{"Authorization", b.bearer("usr_1", "ses_of_another")}, "invalid_token"},
		"no session's":           {[]string{"Authorization", b.bearer("usr_1", "ses_none")}, "invalid_token"},
		"in the query":           {nil, "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/x"
			if name == "in the query" {
				path = "/x?access_token=" + strings.TrimPrefix(good, "Bearer ")
			}
			b.send("GET", path, "", c.headers...).wants(t, 401, c.code)
		})
	}
	b.send("GET", "/x", "", "Authorization", good).wants(t, 200, "")
}

func TestAnEndedSessionStopsItsTokenAtOnce(t *testing.T) {
	b := serving(t, []Route{get("/x", whoAsks, "Ask", user)})
	access := b.as("usr_1", "user")
	b.send("GET", "/x", "", "Authorization", access).wants(t, 200, "")
	b.sessions.end("ses_usr_1")
	b.send("GET", "/x", "", "Authorization", access).wants(t, 401, "invalid_token")
}

func TestARoleThatWasTakenAwayDoesNotLiveOnInAToken(t *testing.T) {
	b := serving(t, []Route{get("/x", whoAsks, "Ask", admin)})
	b.sessions.start("ses_1", "usr_1", "admin")
	access, _, err := b.tokens.Mint("usr_1", "ses_1", []string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	b.send("GET", "/x", "", "Authorization", "Bearer "+access).wants(t, 200, "")
	b.sessions.start("ses_1", "usr_1", "user")
	b.send("GET", "/x", "", "Authorization", "Bearer "+access).wants(t, 403, "forbidden")
}

func TestIdempotencyKeys(t *testing.T) {
	b := serving(t, []Route{post("/once", whoAsks, "Do once", user, once), post("/any", whoAsks, "Do", user)})
	access := b.as("usr_1", "user")
	const invalid = "idempotency_key_invalid"
	for name, c := range map[string]struct {
		path    string
		headers []string
		status  int
		code    string
	}{
		"needed":            {"/once", nil, 400, "idempotency_key_required"},
		"welcome":           {"/any", []string{"Idempotency-Key", "a"}, 200, ""},
		"not needed":        {"/any", nil, 200, ""},
		"as long as may be": {"/once", []string{"Idempotency-Key", strings.Repeat("~", 128)}, 200, ""},
		"too long":          {"/once", []string{"Idempotency-Key", strings.Repeat("a", 129)}, 400, invalid},
		"with a space":      {"/any", []string{"Idempotency-Key", "a b"}, 400, invalid},
		"not ASCII":         {"/once", []string{"Idempotency-Key", "schlüssel"}, 400, invalid},
		"twice":             {"/once", []string{"Idempotency-Key", "a", "Idempotency-Key", "a"}, 400, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			headers := append([]string{"Authorization", access}, c.headers...)
			b.send("POST", c.path, "", headers...).wants(t, c.status, c.code)
		})
	}
}

// Two requests are the same if their route, address and members are; white space and
// the order of names are nothing.
func TestTheRequestsHashIsOfWhatIsAsked(t *testing.T) {
	b := serving(t, []Route{post("/notes", writeNote, "Write", public, unlimited),
		del("/notes", writeNote, "Write", public, unlimited)})
	hash := func(method, path, body string) string {
		a := b.send(method, path, body, "Idempotency-Key", "a")
		a.wants(t, 200, "")
		var w written
		if err := json.Unmarshal(a.body, &w); err != nil {
			t.Fatal(err)
		}
		return string(w.Request)
	}
	first := hash("POST", "/notes", `{"to":"a","text":"b"}`)
	if first == "" || hash("POST", "/notes", "{ \"text\": \"b\",\n \"to\": \"a\" }") != first {
		t.Error("white space and order make another request")
	}
	for _, other := range []string{hash("DELETE", "/notes", `{"to":"a","text":"b"}`),
		hash("POST", "/notes", `{"to":"a","text":"c"}`), hash("POST", "/notes", `{"to":"a","text":"b","size":1}`)} {
		if other == first {
			t.Error("another request has the same hash")
		}
	}
}

// Logs have hashes of bodies as they were written once; these are never to change.
func TestABodyIsWrittenForItsHashAsItAlwaysWas(t *testing.T) {
	for _, c := range []struct{ body, now, before string }{
		{`{"to": "a", "text": "b c"}`, `{"text":"b c","to":"a"}`, ``},
		{`{"text": "<ä>", "n": 1.50}`, `{"n":1.50,"text":"\u003cä\u003e"}`, ``},
		{`{"text":"\u00e4\/<"}`, `{"text":"ä/\u003c"}`, `{"text":"\u00e4\/\u003c"}`},
		{`{"t\u006f": "a\nb", "in": {"b": 1, "a": "\t"}}`, `{"in":{"a":"\t","b":1},"to":"a\nb"}`,
			`{"in":{"b":1,"a":"\t"},"to":"a\nb"}`},
	} {
		if got := canonical([]byte(c.body)); string(got) != c.now {
			t.Errorf("%s is written as %s, and was as %s", c.body, got, c.now)
		}
		if got := canonicalBefore([]byte(c.body)); string(got) != c.before {
			t.Errorf("%s was written as %s, and that is taken for %s", c.body, c.before, got)
		}
	}
}

func TestTheOperatorsSocketNeedsNoKey(t *testing.T) {
	b := serving(t, []Route{post("/operate", whoAsks, "Operate", operator), get("/mine", whoAsks, "Read", user)})
	path := filepath.Join(t.TempDir(), "operator.sock")
	b.listen(b.server.ServeOperator, listening(t, "unix", path))
	socket := &nethttp.Client{Transport: &nethttp.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
	defer socket.CloseIdleConnections()
	a := b.sendTo(socket, "http://operator", "POST", "/operate", "")
	a.wants(t, 200, "")
	if got := a.json(t)["actor"]; got != "operator" {
		t.Errorf("the actor is %v", got)
	}
	b.sendTo(socket, "http://operator", "GET", "/mine", "").wants(t, 401, "unauthorized")
	b.send("POST", "/operate", "").wants(t, 401, "unauthorized")
	b.send("POST", "/operate", "", "Authorization", b.as("usr_1", "user", "admin", "finance")).wants(t, 403, "forbidden")
}

func TestOnlyKnownProxiesSayWhereARequestComesFrom(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		peer, forwarded, want string
		none                  bool
	}{
		"nobody in between":         {peer: "203.0.113.5:1", want: "203.0.113.5"},
		"an invention":              {peer: "203.0.113.5:1", forwarded: "198.51.100.1", want: "203.0.113.5"},
		"a proxy":                   {peer: "10.0.0.1:1", forwarded: "198.51.100.1", want: "198.51.100.1"},
		"two proxies":               {peer: "10.0.0.1:1", forwarded: "198.51.100.1, 10.2.3.4", want: "198.51.100.1"},
		"an invention in front":     {peer: "10.0.0.1:1", forwarded: "1.1.1.1, 198.51.100.1", want: "198.51.100.1"},
		"an invented proxy":         {peer: "10.0.0.1:1", forwarded: "1.1.1.1,10.9.9.9,198.51.100.1", want: "198.51.100.1"},
		"rubbish":                   {peer: "10.0.0.1:1", forwarded: "rubbish", want: "10.0.0.1"},
		"a proxy that says nothing": {peer: "10.0.0.1:1", want: "10.0.0.1"},
		"over IPv6":                 {peer: "[fd00::1]:1", forwarded: "2001:db8::7", want: "2001:db8::7"},
		"IPv4 within IPv6":          {peer: "[::ffff:10.0.0.1]:1", forwarded: "::ffff:198.51.100.1", want: "198.51.100.1"},
		"no proxies known":          {peer: "10.0.0.1:1", forwarded: "198.51.100.1", want: "10.0.0.1", none: true},
		"the operator's socket":     {peer: "@", want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			req := &nethttp.Request{RemoteAddr: c.peer, Header: nethttp.Header{}}
			if c.forwarded != "" {
				req.Header.Set("X-Forwarded-For", c.forwarded)
			}
			trusted := proxies
			if c.none {
				trusted = nil
			}
			if got := addressOf(req, trusted); got != c.want {
				t.Errorf("comes from %q and not %q", got, c.want)
			}
		})
	}
}

func TestACommandsAnswerSaysWhereItsEventIs(t *testing.T) {
	type out = written
	replayed := func(context.Context, nothing) (out, error) { return out{position: 9, replayed: true}, nil }
	nothingDone := func(context.Context, nothing) (out, error) { return out{}, nil }
	b := serving(t, []Route{post("/first", writeNote, "Write", public, created),
		post("/again", replayed, "Write", public), post("/none", nothingDone, "Write", public)})
	first := b.send("POST", "/first", `{"to":"a","text":"b"}`)
	if first.status != 201 || first.header.Get("Ledger-Position") != "7" ||
		first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("first: %d %v", first.status, first.header)
	}
	again := b.send("POST", "/again", "")
	if again.status != 200 || again.header.Get("Ledger-Position") != "9" ||
		again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("again: %d %v", again.status, again.header)
	}
	if none := b.send("POST", "/none", ""); none.header.Get("Ledger-Position") != "" {
		t.Errorf("none: %v", none.header)
	}
	if strings.Contains(string(first.body), "position") {
		t.Errorf("the receipt is in the body: %s", first.body)
	}
}

func TestAGuardThatCannotLookUpDoesNotLetIn(t *testing.T) {
	b := serving(t, []Route{get("/x", whoAsks, "Ask", user, app("a"))}, func(cfg *Config) {
		cfg.Sessions, cfg.APIKeys = broken{}, broken{}
	})
	b.send("GET", "/x", "", "Authorization", b.as("usr_1", "user")).wants(t, 503, "store_unavailable")
	b.send("GET", "/x", "", "X-API-Key", "tb_key").wants(t, 503, "store_unavailable")
}

type broken struct{}

var errBroken = ledger.Refuse("store_unavailable", "Try again.")

func (broken) Session(context.Context, string) (string, []string, bool, error) {
	return "usr_1", []string{"user"}, true, errBroken
}

func (broken) HashAPIKey(key string) string { return key }

func (broken) APIKey(context.Context, string) (string, []string, bool, error) {
	return "key_1", []string{"a"}, true, errBroken
}

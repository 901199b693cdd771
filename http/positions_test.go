package http

import (
	"context"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/commands"
	"truebond/events"
)

// writingRoutes has a command whose event is where the test says, and a read.
func writingRoutes() []Route {
	type at struct {
		Position uint64 `json:"position"`
		For      string `json:"for"`
	}
	write := func(_ context.Context, in at) (written, error) {
		out := written{position: in.Position}
		if in.For != "" {
			out.actor = events.Actor{Kind: events.ActorUser, ID: in.For}
		}
		return out, nil
	}
	type covering struct {
		Position uint64 `header:"Ledger-Position"`
	}
	cover := func(_ context.Context, in covering) (at, error) { return at{Position: in.Position}, nil }
	return []Route{get("/covering", cover, "Read what covers a position", public),
		post("/write", write, "Write", user, app("a")), post("/login", write, "Log in", public),
		get("/read", whoAsks, "Read", user, app("a")), get("/open", whoAsks, "Read", public)}
}

func briefly(cfg *Config) { cfg.WaitMax = 50 * time.Millisecond }

func TestAReadShowsItsCallersOwnWrites(t *testing.T) {
	b := serving(t, writingRoutes(), briefly)
	one, two := b.as("usr_1", "user"), b.as("usr_2", "user")
	b.views.move(10)
	b.send("POST", "/write", `{"position":11}`, "Authorization", one).wants(t, 200, "")
	b.views.grow(11)
	a := b.send("GET", "/read", "", "Authorization", one)
	a.wants(t, 503, "views_behind")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	b.send("GET", "/read", "", "Authorization", two).wants(t, 200, "")
	b.send("GET", "/open", "").wants(t, 200, "")
	b.views.move(11)
	b.send("GET", "/read", "", "Authorization", one).wants(t, 200, "")
}

func TestAReadWaitsAndThenSees(t *testing.T) {
	b := serving(t, writingRoutes())
	one := b.as("usr_1", "user")
	b.send("POST", "/write", `{"position":5}`, "Authorization", one).wants(t, 200, "")
	b.views.grow(5)
	read := make(chan answer, 1)
	go func() { read <- b.send("GET", "/read", "", "Authorization", one) }()
	for len(b.views.waits()) == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case a := <-read:
		t.Fatalf("it did not wait: %s", a.body)
	default:
	}
	b.views.move(5)
	(<-read).wants(t, 200, "")
}

func TestAReadWaitsForTheGreaterOfItsHeaderAndItsCallersLastWrite(t *testing.T) {
	b := serving(t, writingRoutes(), briefly)
	b.keys["tb_key"] = []string{"a"} // an app's guard waits for nothing, which leaves the read's own wait
	b.views.grow(100)
	b.send("POST", "/write", `{"position":20}`, "X-API-Key", "tb_key").wants(t, 200, "")
	for header, want := range map[uint64]uint64{30: 30, 20: 20, 7: 20, 0: 20} {
		b.send("GET", "/read", "", "X-API-Key", "tb_key", "Ledger-Position", strconv.FormatUint(header, 10)).
			wants(t, 503, "views_behind")
		waits := b.views.waits()
		if got := waits[len(waits)-1]; got != want {
			t.Errorf("with the header %d it waited for %d and not %d", header, got, want)
		}
	}
}

func TestThePositionInAHeaderIsChecked(t *testing.T) {
	b := serving(t, writingRoutes(), briefly)
	b.views.move(10)
	b.send("GET", "/open", "", "Ledger-Position", "10").wants(t, 200, "")
	b.send("GET", "/open", "", "Ledger-Position", "11").wants(t, 400, "beyond_log")
	for _, bad := range []string{"-1", "1.5", "1e3", "ten", " ", "18446744073709551616", "9223372036854775808"} {
		for _, path := range []string{"/open", "/covering"} {
			a := b.send("GET", path, "", "Ledger-Position", bad)
			a.wants(t, 400, "invalid_position")
			if a.pointers(t) != "#/Ledger-Position" {
				t.Errorf("%q names %s", bad, a.body)
			}
		}
	}
	b.send("GET", "/open", "", "Ledger-Position", "1", "Ledger-Position", "2").wants(t, 400, "invalid_position")
}

// A new session is found by its first request, however far behind the views are.
func TestWhoHasJustLoggedInIsLetIn(t *testing.T) {
	for name, body := range map[string]string{
		"remembered for its user": `{"position":3,"for":"usr_1"}`,
		"remembered for nobody":   `{"position":3}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := serving(t, writingRoutes())
			b.send("POST", "/login", body).wants(t, 200, "")
			b.views.grow(3)
			access := b.bearer("usr_1", "ses_1")
			read := make(chan answer, 1)
			go func() { read <- b.send("GET", "/read", "", "Authorization", access) }()
			for len(b.views.waits()) == 0 {
				time.Sleep(time.Millisecond)
			}
			b.sessions.start("ses_1", "usr_1", "user")
			b.views.move(3)
			(<-read).wants(t, 200, "")
		})
	}
}

// The guard waits for its caller's own last command, too: logging out ends the token
// for the very next request.
func TestLoggingOutEndsATokenForTheNextRequest(t *testing.T) {
	b := serving(t, writingRoutes())
	access := b.as("usr_1", "user")
	b.send("POST", "/write", `{"position":4}`, "Authorization", access).wants(t, 200, "") // the log-out
	b.views.grow(4)
	next := make(chan answer, 1)
	go func() { next <- b.send("POST", "/write", `{"position":5}`, "Authorization", access) }()
	for len(b.views.waits()) == 0 {
		time.Sleep(time.Millisecond)
	}
	b.sessions.end("ses_usr_1") // the views get there
	b.views.move(4)
	(<-next).wants(t, 401, "invalid_token")
}

// A refresh token that comes again is refused, and that ends its session.
func TestARefusalThatEndsASessionEndsItsTokenForTheNextRequest(t *testing.T) {
	ends := func(context.Context, nothing) (written, error) {
		return written{position: 4, actor: events.Actor{Kind: events.ActorUser, ID: "usr_1"}}, commands.ErrRefresh
	}
	b := serving(t, append(writingRoutes(), post("/refresh", ends, "Refresh", public)), briefly)
	one, two := b.as("usr_1", "user"), b.as("usr_2", "user")
	b.views.grow(4)
	b.send("POST", "/refresh", "").wants(t, 401, "refresh_failed")
	b.send("GET", "/read", "", "Authorization", one).wants(t, 503, "views_behind")
	b.send("POST", "/write", `{}`, "Authorization", one).wants(t, 503, "views_behind")
	b.send("GET", "/read", "", "Authorization", two).wants(t, 200, "")
	b.sessions.end("ses_usr_1") // the views get there
	b.views.move(4)
	b.send("GET", "/read", "", "Authorization", one).wants(t, 401, "invalid_token")
}

func TestARevokedKeyOpensNothingHoweverFarBehindTheViewsAre(t *testing.T) {
	revoke := func(context.Context, nothing) (written, error) {
		return written{position: 4, actor: commands.BearerOf("tb_one")}, nil
	}
	b := serving(t, append(writingRoutes(), post("/revoke", revoke, "Revoke", public)), briefly)
	b.keys["tb_one"], b.keys["tb_two"] = []string{"a"}, []string{"a"}
	b.views.grow(100)
	for _, key := range []string{"tb_one", "tb_two"} { // commands wait for nothing that was done with a key
		b.send("POST", "/write", `{"position":3}`, "X-API-Key", key).wants(t, 200, "")
		b.send("POST", "/write", `{"position":3}`, "X-API-Key", key).wants(t, 200, "")
	}
	b.send("POST", "/revoke", "").wants(t, 200, "")
	b.send("POST", "/write", `{"position":5}`, "X-API-Key", "tb_one").wants(t, 503, "views_behind")
	b.send("POST", "/write", `{"position":5}`, "X-API-Key", "tb_two").wants(t, 200, "")
	delete(b.keys, "tb_one") // the views get there
	b.views.move(4)
	b.send("POST", "/write", `{"position":6}`, "X-API-Key", "tb_one").wants(t, 401, "invalid_token")
}

// Against a plain map that forgets nothing: nobody is ever told a position before his
// own last one that the views lack, and what is remembered is bounded.
func TestLastPositionsForgetNothingThatMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stored, log uint64
		most := rapid.IntRange(1, 4).Draw(t, "most")
		l := newLastPositions(func() uint64 { return stored }, most, 0)
		plain := map[string]uint64{}
		who := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		t.Repeat(map[string]func(*rapid.T){
			"note": func(t *rapid.T) {
				log++
				w := who.Draw(t, "who")
				_ = l.Note(t.Context(), log, w) // it never fails
				plain[w] = log
			},
			"note late": func(t *rapid.T) { // two answers of one caller may cross
				if log > 0 {
					w, p := who.Draw(t, "who"), rapid.Uint64Range(1, log).Draw(t, "position")
					_ = l.Note(t.Context(), p, w)
					plain[w] = max(plain[w], p)
				}
			},
			"store": func(t *rapid.T) { stored = rapid.Uint64Range(stored, log).Draw(t, "stored") },
			"": func(t *rapid.T) {
				w := who.Draw(t, "who")
				got, _ := l.Of(t.Context(), w)
				if plain[w] > stored && got < plain[w] {
					t.Fatalf("%s wrote at %d, the views are at %d, and it waits for %d", w, plain[w], stored, got)
				}
				if got > log || got != 0 && got <= stored {
					t.Fatalf("%s waits for %d: the views are at %d, the log at %d", w, got, stored, log)
				}
				if newest, _ := l.Newest(t.Context()); len(l.last) > most || newest > log {
					t.Fatalf("%d callers are remembered", len(l.last))
				}
			},
		})
	})
}

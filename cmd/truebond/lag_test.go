package main

import (
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"truebond/cmd/truebond/server"
	"truebond/ledger"
)

// standStill keeps the views of a data folder from being written, as a full disk would, until go on is called.
func standStill(t *testing.T, data string) (goOn func()) {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(data, "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	for _, statement := range []string{"PRAGMA busy_timeout = 10000", "BEGIN IMMEDIATE"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	goOn = sync.OnceFunc(func() { _ = db.Close() })
	t.Cleanup(goOn)
	return goOn
}

// Whoever has been shut out is not let in by views that do not know of it.
func TestWhoIsShutOutStaysOutWhileTheViewsStandStill(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", TestClock: true})
	ann, bob, cora := w.signsUp(), w.signsUp(), w.signsUp()
	leaked, other := w.apiKey(ledger.ScopeDeduct), w.apiKey(ledger.ScopeDeduct)
	charges := func(key, once string) answer {
		return w.ask("POST", "/api/credits/deduct", key, map[string]any{"user_id": cora.id, "credits": 1,
			"reason": "a gift"}, "Idempotency-Key", once)
	}
	stolen := w.refreshes(ann.refresh).is(200).get("access_token")
	w.ask("GET", "/api/auth/me", stolen, nil).is(200)

	goOn := standStill(t, data)
	w.refreshes(ann.refresh).is(401).says("code", "refresh_failed")
	w.ask("POST", "/api/auth/logout", bob.token, nil).is(200)
	w.operate("/api/operator/api-keys/revoke", map[string]any{"key": leaked}).is(200)
	shutOut := func(want int) {
		var all sync.WaitGroup
		for what, asks := range map[string]func() answer{
			"a session's end by its reuse": func() answer { return w.ask("GET", "/api/auth/me", stolen, nil) },
			"the same for a command": func() answer {
				return w.ask("POST", "/api/v2/messages/send", stolen, map[string]any{"to": bob.id, "body": "x"},
					"Idempotency-Key", "once")
			},
			"a log-out":   func() answer { return bob.get("/api/auth/me") },
			"a key's end": func() answer { return charges(leaked, "x") },
			"nothing":     func() answer { return charges(other, "a-gift") },
		} {
			want := want
			if what == "nothing" {
				want = 201
			}
			all.Go(func() {
				if a := asks(); a.status != want {
					t.Errorf("after %s: %d, want %d: %s", what, a.status, want, a.body)
				}
			})
		}
		all.Wait()
	}
	shutOut(503)
	goOn()
	shutOut(401)
	cora.has(9)
}

// Anybody may have a token of a session that ended long ago, as on a phone that was sold.
func TestAnOldTokenHoldsUpNobodyWhileTheViewsStandStill(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", TestClock: true})
	ann, bob, cora := w.signsUp(), w.signsUp(), w.signsUp()
	now := w.logsIn(ann.email, password).is(200).get("access_token")
	w.ask("POST", "/api/auth/logout", ann.token, nil).is(200)
	w.ask("GET", "/api/auth/me", now, nil).is(200)
	w.ask("GET", "/api/auth/me", ann.token, nil).is(401)

	standStill(t, data)
	bob.post("/api/v2/messages/send", map[string]any{"to": cora.id, "body": "x"}).is(201)
	w.refreshes(ann.refresh).is(401).says("code", "refresh_failed")
	w.ask("GET", "/api/auth/me", now, nil).is(200)
}

// Nobody could hang up, and no minute but the first would be charged.
func TestNoCallBeginsWhileTheViewsStandStill(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", TestClock: true})
	ann, bob, cora := w.signsUp(), w.signsUp(), w.signsUp()
	call := ann.calls(bob)
	bob.get("/api/calls/active").is(200).says("data.0.id", call)

	goOn := standStill(t, data)
	cora.sends(ann, "are you there?")
	bob.does("accept", call).is(503).says("code", "views_behind")
	goOn()
	bob.does("accept", call).is(200).says("call.state", "active", "call.charged", 5)
	ann.has(5)
}

package main

import (
	"os"
	"testing"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/commands/vault"
)

// Programs from before 27 November 2026 made a second key beside a vault that lacked the first.
func makeSecondKey(t *testing.T, data, user string) {
	t.Helper()
	folder := datafolder.Folder{Path: data}
	secret, err := folder.ReadSecret(datafolder.JWTSecretFile)
	if err != nil {
		t.Fatal(err)
	}
	store, err := server.OpenKeys(t.Context(), os.Getenv("MONGO_URL"), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context()) //nolint:errcheck // it goes with the test
	keys, err := vault.Open(t.Context(), store, secret, false)
	if err == nil {
		err = keys.MakeKey(t.Context(), user)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatASecondKeyDoesNotOpenIsRefusedAsWithoutAny(t *testing.T) {
	for _, older := range olderVaults {
		t.Run(older.name, func(t *testing.T) {
			older.begin(t)
			data := t.TempDir()
			serves := func(name string, do func(w *world)) {
				t.Helper()
				t.Run(name, func(t *testing.T) {
					do(serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"}))
				})
			}
			ann, bob := comeAroundTheCopy(t, older.name, data, serves)
			older.set(t, data, ann.id)
			makeSecondKey(t, data, ann.id)
			truebond(t, "", "verify", "--data", data).ends(t, exitFailed, ann.id+" has another key than that with which ")
			serves("with both", func(w *world) {
				a := w.ask("GET", "/api/v2/messages/conversation/"+ann.id, bob.token, nil).is(503).says("code", "key_missing")
				if wait := a.header.Get("Retry-After"); wait != "" {
					t.Errorf("to try again in %s seconds is of no use", wait)
				}
				w.logsIn(ann.email, password).is(503).says("code", "key_missing")
				w.logsIn(bob.email, password).is(200)
			})
		})
	}
}

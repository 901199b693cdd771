package main

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/projections/storetest"
)

// An older vault is one without the key of somebody who has come since.
type olderVault struct {
	name  string
	begin func(t *testing.T)
	set   func(t *testing.T, data, without string) // puts it back; its server does not run
}

var olderVaults = []olderVault{
	{"SQLite", func(*testing.T) {}, func(t *testing.T, data, _ string) {
		t.Helper()
		older, err := os.ReadFile(filepath.Join(data, "older"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(data, datafolder.VaultFile), older)
	}},
	{"MongoDB", func(t *testing.T) { t.Setenv("MONGO_URL", storetest.Mongo(t)) }, func(t *testing.T, _, without string) {
		t.Helper()
		url := os.Getenv("MONGO_URL")
		client, err := mongo.Connect(t.Context(), options.Client().ApplyURI(url))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Disconnect(t.Context()) //nolint:errcheck // it goes with the test
		name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "?")
		gone, err := client.Database(name+"_vault").Collection("keys").DeleteOne(t.Context(), bson.M{"_id": "key/" + without})
		if err != nil || gone.DeletedCount != 1 {
			t.Fatalf("%+v keys are gone (%v)", gone, err)
		}
	}},
}

// comeAroundTheCopy has Bob sign up before a copy is made of the vault, and Ann after it; she writes to him.
func comeAroundTheCopy(
	t *testing.T, store, data string, serves func(name string, do func(w *world)),
) (ann, bob *person) {
	t.Helper()
	serves("before the copy", func(w *world) { bob = w.signsUp() })
	if store == "SQLite" {
		vault, err := os.ReadFile(filepath.Join(data, datafolder.VaultFile))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(data, "older"), vault)
	}
	serves("after it", func(w *world) {
		w.people.Store(100) // nobody signs up twice
		ann = w.signsUp()
		ann.post("/api/v2/messages/send", map[string]any{"to": bob.id, "body": "it is me"}).is(201)
	})
	return ann, bob
}

// Who has come since the copy was made has no key in it. Another one in its place would hide that, and seal
// what nobody can read beside what the first one has sealed.
func TestAnOlderVaultIsToldOfAndGivesNobodyAnotherKey(t *testing.T) {
	for _, older := range olderVaults {
		t.Run(older.name, func(t *testing.T) {
			older.begin(t)
			data := t.TempDir()
			var said bytes.Buffer
			serves := func(name string, do func(w *world)) {
				t.Helper()
				t.Run(name, func(t *testing.T) {
					do(serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0",
						Logger: slog.New(slog.NewJSONHandler(&said, nil))}))
				})
			}
			ann, bob := comeAroundTheCopy(t, older.name, data, serves)
			truebond(t, "", "verify", "--data", data).ends(t, exitDone, "The vault has the 2 keys of all who are not erased. Each opens all")
			older.set(t, data, ann.id)
			truebond(t, "", "verify", "--data", data).ends(t, exitFailed, ann.id+", who came with event")

			said.Reset()
			serves("with the older vault", func(w *world) {
				w.people.Store(200)
				message := func(from *person, to string) answer {
					return w.ask("POST", "/api/v2/messages/send", from.token, map[string]any{"to": to, "body": "hello"},
						"Idempotency-Key", rand.Text())
				}
				for range 2 { // the first try leaves nothing that lets the second succeed
					message(ann, bob.id).is(503).says("code", "key_missing")
					w.refreshes(ann.refresh).is(503).says("code", "key_missing")
					w.logsIn(ann.email, password).is(503).says("code", "key_missing")
				}
				conversation := func() answer {
					return w.ask("GET", "/api/v2/messages/conversation/"+ann.id, bob.token, nil)
				}
				conversation().is(503).says("code", "key_missing")
				w.logsIn(bob.email, password).is(200)
				message(bob, w.signsUp().id).is(201)
				w.operate("/api/operator/erase", map[string]any{"user_id": ann.id, "reason": "her key is lost"}).is(200)
				conversation().is(200).says("data.0.body", "erased")
			})
			if log := said.String(); !strings.Contains(log, "the vault is older than the log") || !strings.Contains(log, ann.id) {
				t.Errorf("the server has said\n%s", log)
			}
			truebond(t, "", "verify", "--data", data).ends(t, exitDone, "The vault has the 2 keys of all who are not erased.")
		})
	}
}

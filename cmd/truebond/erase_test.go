package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	mongooptions "go.mongodb.org/mongo-driver/mongo/options"

	"truebond/cmd/truebond/server"
	"truebond/projections/storetest"
)

// planted is all that somebody tells of themselves, each text to be found nowhere else.
var planted = map[string]string{
	"email": "zxq-planted-address@plantation.example", "password": "zxq planted passphrase",
	"name": "Zxqplantedname Plantagenet", "birth_date": "1977-07-17", "phone": "+917770017770",
}

const plantedBody = "zxq the planted words of a message"

// secrets are what must never be read in clear; the client secret comes later.
func plantedTexts(clientSecret string) []string {
	texts := []string{plantedBody, clientSecret}
	for _, text := range planted {
		texts = append(texts, text)
	}
	return texts
}

func TestAnErasedPersonIsReadNowhere(t *testing.T) {
	t.Run("embedded, while the server runs", func(t *testing.T) {
		data := t.TempDir()
		erases(t, data, func(_ *world, user string) { runErase(t, data, user) }, func(texts []string) {
			searchFiles(t, data, texts)
		})
	})
	t.Run("embedded, while no server runs", func(t *testing.T) {
		data := t.TempDir()
		user, texts := "", []string(nil)
		t.Run("before", func(t *testing.T) {
			w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
			p := plants(w, w.signsUp())
			user, texts = p.id, plantedTexts(p.clientSecret)
		})
		searchFiles(t, data, texts)
		runErase(t, data, user)
		searchFiles(t, data, texts)
		w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
		w.logsIn(planted["email"], planted["password"]).is(401)
	})
	t.Run("MongoDB and Redis", func(t *testing.T) {
		mongoURL := storetest.Mongo(t)
		t.Setenv("MONGO_URL", mongoURL)
		t.Setenv("REDIS_URL", "redis://"+storetest.Redis(t))
		data := t.TempDir()
		erases(t, data, func(w *world, user string) {
			w.operate("/api/operator/erase", map[string]any{"user_id": user, "reason": "asked for"}).is(200)
		}, func(texts []string) {
			searchFiles(t, data, texts)
			searchMongo(t, mongoURL, texts)
		})
	})
}

// A plantation is somebody who has told all there is to tell.
type plantation struct {
	*person
	clientSecret string
}

// plants signs somebody up who buys, and writes to a partner.
func plants(w *world, partner *person) plantation {
	w.t.Helper()
	body := map[string]any{}
	for name, text := range planted {
		body[name] = text
	}
	a := w.ask("POST", "/api/auth/signup", "", body).is(201).says("user.email", planted["email"])
	p := &person{w: w, id: a.get("user.id"), email: planted["email"], token: a.get("access_token"),
		refresh: a.get("refresh_token")}
	bought := p.post("/api/credits/purchase", map[string]any{"package": "small"}).is(201)
	p.post("/api/payments/simulate/payment", map[string]any{"intent_id": bought.get("intent_id")}).is(200)
	for range 3 {
		p.sends(partner, plantedBody)
	}
	partner.sends(p, "an answer")
	return plantation{p, bought.get("client_secret")}
}

// erases has somebody erased, and looks at all that is to be so afterwards.
func erases(t *testing.T, data string, erase func(w *world, user string), search func(texts []string)) {
	t.Helper()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	partner, finance, admin := w.signsUp(), w.staff("finance"), w.staff("admin")
	p := plants(w, partner)
	texts := plantedTexts(p.clientSecret)
	search(texts)
	partner.get("/api/v2/messages/conversation/"+p.id).is(200).says("data.1.body", plantedBody)
	p.has(57)
	before := w.ask("GET", "/api/finance/trial-balance", finance, nil).is(200)

	erase(w, p.id)

	p.get("/api/auth/me").is(401)
	w.refreshes(p.refresh).is(401)
	w.logsIn(planted["email"], planted["password"]).is(401).says("code", "login_failed")
	partner.get("/api/v2/messages/conversation/"+p.id).is(200).
		says("data.0.body", "an answer", "data.1.body", "erased", "data.3.body", "erased")
	partner.post("/api/v2/messages/send", map[string]any{"to": p.id, "body": "are you there?"}).is(404)
	after := w.ask("GET", "/api/finance/trial-balance", finance, nil).is(200)
	for _, list := range []string{"accounts", "totals"} {
		was, is := listOf[map[string]any](before, list), listOf[map[string]any](after, list)
		if len(was) == 0 || !equalJSON(t, was, is) {
			t.Errorf("the %s were %v and are %v", list, was, is)
		}
	}
	w.ask("GET", "/api/admin/audit?type=user.erased", admin, nil).is(200).
		says("data.0.subjects.0", p.id, "data.0.actor", "operator", "data.0.data.reason", "asked for")
	search(texts)

	again := w.ask("POST", "/api/auth/signup", "", newcomer(map[string]any{"email": planted["email"]})).is(201)
	if again.get("user.id") == p.id {
		t.Error("who signs up again is the erased user")
	}
	w.ask("GET", "/api/credits/balance", again.get("access_token"), nil).is(200).says("available", 0)
	w.logsIn(planted["email"], password).is(200).says("user.id", again.get("user.id"))
	w.operate("/api/operator/erase", map[string]any{"user_id": p.id,
		"reason": "asked for"}).is(200) // again is no harm
	w.operate("/api/operator/erase", map[string]any{"user_id": "usr_none", "reason": "asked for"}).is(404)
}

func runErase(t *testing.T, data, user string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"erase", user, "--data", data, "--reason", "asked for"},
		strings.NewReader(""), &out, &errs)
	if code != exitDone || !strings.Contains(out.String(), user+" is erased") {
		t.Fatalf("erase ended with %d: %s%s", code, &out, &errs)
	}
}

// searchFiles looks for texts in every file of a folder.
func searchFiles(t *testing.T, folder string, texts []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%q stands in %s", text, path)
			}
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Fatalf("%d files were searched: %v", files, err)
	}
}

// searchMongo looks for texts in every document of every database, and in what the
// server keeps for its replicas.
func searchMongo(t *testing.T, url string, texts []string) {
	t.Helper()
	client, err := mongo.Connect(t.Context(), mongooptions.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context()) //nolint:errcheck // it was read as far as it matters
	databases, err := client.ListDatabaseNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	searched, oplog := 0, false
	for _, database := range databases {
		collections, err := client.Database(database).ListCollectionNames(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range collections {
			oplog = oplog || database == "local" && name == "oplog.rs"
			cursor, err := client.Database(database).Collection(name).Find(t.Context(), bson.D{})
			if err != nil {
				t.Fatal(err)
			}
			for ; cursor.Next(t.Context()); searched++ {
				for _, text := range texts {
					if bytes.Contains(cursor.Current, []byte(text)) {
						t.Errorf("%q stands in %s.%s: %s", text, database, name, cursor.Current)
					}
				}
			}
			if err := cursor.Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !oplog || searched < 50 {
		t.Fatalf("%d documents were searched, the oplog: %v", searched, oplog)
	}
}

func TestAReasonAndAUserAreNeededToErase(t *testing.T) {
	w := begin(t, embedded)
	w.operate("/api/operator/erase", map[string]any{"user_id": "usr_x"}).is(422).
		says("errors.0.pointer", "#/reason")
	w.operate("/api/operator/erase", map[string]any{"reason": "r"}).is(422).says("errors.0.pointer", "#/user_id")
	w.operate("/api/operator/erase", map[string]any{
		"user_id": w.signsUp().id, "reason": strings.Repeat("r", 201)}).is(422).
		says("errors.0.pointer", "#/reason")
}

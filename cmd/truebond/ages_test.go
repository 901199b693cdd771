package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/commands/vault"
	"truebond/events"
	"truebond/events/jetstream"
)

// In testdata/november is what the program of 22 November 2026 had when it was killed, and what it had
// answered until then: its log, event by event, and its vault. These files are never written anew.
const november = "november"

// A past answer is what was asked of a server, and what it said. Its password is everybody's.
type pastAnswer struct {
	As     string          `json:"as"`      // a person, or
	APIKey string          `json:"api_key"` // an app
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Key    string          `json:"key"` // for idempotency
	Body   string          `json:"body"`
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer"`
}

// Balances, books, texts, accounts and API keys are as they were, and who asks once more under an old
// key gets the old answer.
func TestALogOfAnEarlierProgramIsReadAsItWas(t *testing.T) {
	w := serveFrom(t, server.Options{Data: folderOfThePast(t, november), Listen: "127.0.0.1:0"})
	var past []pastAnswer
	readPast(t, november, "answers.json", &past)
	tokens := map[string]string{}
	for _, p := range past {
		token := cmp.Or(p.APIKey, tokens[p.As])
		if token == "" {
			token = w.ask("POST", "/api/auth/login", "", map[string]any{
				"email": p.As + "@example.com", "password": demoPassword,
			}).is(200).get("access_token")
			tokens[p.As] = token
		}
		var body any
		if p.Body != "" {
			body = []byte(p.Body)
		}
		got := w.ask(p.Method, p.Path, token, body, "Idempotency-Key", p.Key)
		if differs := notIn(answerAs(t, got.body), answerAs(t, p.Answer), ""); got.status != p.Status || differs != "" {
			t.Errorf("%s under the key %q answers %d, and was %d; %s", got.asked, p.Key, got.status, p.Status, differs)
		}
		if replayed := got.header.Get("Idempotent-Replayed"); p.Status == 201 && replayed != "true" {
			t.Errorf("%s under the key %q is no replay", got.asked, p.Key)
		}
	}
	w.ask("POST", "/api/auth/login", "", map[string]any{"email": "gone@example.com", "password": demoPassword}).is(401)
}

// folderOfThePast is a data folder with a log and a vault of testdata.
func folderOfThePast(t *testing.T, when string) string {
	t.Helper()
	folder, err := datafolder.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Secret string          `json:"secret"`
		Root   json.RawMessage `json:"root"`
		Keys   []vault.Key     `json:"keys"`
	}
	readPast(t, when, "vault.json", &kept)
	if err := os.WriteFile(folder.Join(datafolder.JWTSecretFile), []byte(kept.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := vault.OpenSQLite(folder.Join(datafolder.VaultFile))
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close(t.Context()) //nolint:errcheck // each write is durable
	if _, err := keys.SwapRoot(t.Context(), nil, kept.Root); err != nil {
		t.Fatal(err)
	}
	for _, k := range kept.Keys {
		write := func(ctx context.Context, owner string) error { return keys.AddKey(ctx, owner, k.Wrapped) }
		if k.Erased {
			write = keys.Destroy
		}
		if err := write(t.Context(), k.Owner); err != nil {
			t.Fatal(err)
		}
	}
	fillLog(t, folder, when)
	return folder.Path
}

func fillLog(t *testing.T, folder datafolder.Folder, when string) {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	var records []events.Record
	for body := range bytes.Lines(pastFile(t, when, "log.ndjson")) {
		body = bytes.TrimSpace(body)
		e, err := codec.Decode(uint64(len(records))+1, body)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, events.Record{Event: e, Body: body})
	}
	log, err := jetstream.Open(t.Context(), jetstream.Options{Dir: folder.Path, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // what is appended is on disk
	if err := log.Append(t.Context(), 0, records); err != nil {
		t.Fatal(err)
	}
}

func pastFile(t *testing.T, when, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", when, name)) // #nosec G304 -- of this package
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readPast(t *testing.T, when, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(pastFile(t, when, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func answerAs(t *testing.T, text []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// notIn tells where an answer lacks what an older one had. Answers may gain members.
func notIn(answer, older any, path string) string {
	switch was := older.(type) {
	case map[string]any:
		is, _ := answer.(map[string]any)
		for name, member := range was {
			if differs := notIn(is[name], member, path+"/"+name); differs != "" {
				return differs
			}
		}
	case []any:
		is, _ := answer.([]any)
		if len(is) != len(was) {
			return fmt.Sprintf("%s has %d elements, and had %d", path, len(is), len(was))
		}
		for i, element := range was {
			if differs := notIn(is[i], element, fmt.Sprintf("%s/%d", path, i)); differs != "" {
				return differs
			}
		}
	default:
		if !reflect.DeepEqual(answer, older) {
			return fmt.Sprintf("%s is %v, and was %v", path, answer, older)
		}
	}
	return ""
}

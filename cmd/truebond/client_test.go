package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/datafolder"
)

// A heard request is what a server got.
type heard struct {
	method, uri, authorization string
	body                       map[string]any
}

// serving runs a server on a data folder: its answers stand on the operator's socket and
// on a port. It gives the folder, the URL, and what the server hears.
func serving(t *testing.T, answer http.HandlerFunc) (data datafolder.Folder, url string, requests *[]heard) {
	t.Helper()
	requests = &[]heard{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := heard{method: r.Method, uri: r.URL.RequestURI(), authorization: r.Header.Get("Authorization")}
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_ = json.Unmarshal(text, &h.body)
		*requests = append(*requests, h)
		r.Body = io.NopCloser(strings.NewReader(string(text)))
		answer(w, r)
	})
	public := httptest.NewServer(handler)
	t.Cleanup(public.Close)
	data, unlock, err := datafolder.Hold(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unlock() })
	socket, err := data.ListenOperator()
	if err != nil {
		t.Fatal(err)
	}
	operator := &httptest.Server{Listener: socket, Config: &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}}
	operator.Start()
	t.Cleanup(operator.Close)
	if err := data.WriteNote(datafolder.Note{URL: public.URL, Socket: socket.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	return data, public.URL, requests
}

func saying(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Who tries something on a copy of a folder that is served, an erasure, say, does it to the copy.
func TestACopyOfAServedFolderDoesNotLeadToItsServer(t *testing.T) {
	data, _, requests := serving(t, saying(200, `{}`))
	copied := datafolder.Folder{Path: filepath.Join(t.TempDir(), "copied")}
	if err := os.Mkdir(copied.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server.json", "lock"} {
		text, err := os.ReadFile(data.Join(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied.Join(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const none = "no server is running"
	truebond(t, "", "apikey", "create", "--name", "n", "--scope", "operator", "--data", copied.Path).ends(t, 1, none)
	truebond(t, `{"id": "ch_1", "object": "charge"}`, "trigger", "charge.updated", "--object", "-", "--secret", "s",
		"--data", copied.Path).ends(t, 1, none)
	if len(*requests) > 0 {
		t.Errorf("the server heard %+v", *requests)
	}
}

// onlyOne is the one request that was heard.
func onlyOne(t *testing.T, requests *[]heard) heard {
	t.Helper()
	if len(*requests) != 1 {
		t.Fatalf("the server heard %d requests", len(*requests))
	}
	return (*requests)[0]
}

func TestAKeyFollowsNobodyElsewhere(t *testing.T) {
	_, elsewhere, requests := serving(t, saying(200, `{}`))
	_, url, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	})
	truebond(t, "", "erase", "usr_1", "--server", url, "--key", "tb_1", "--reason", "a letter", "--yes").
		ends(t, exitFailed, "Temporary Redirect")
	if len(*requests) != 0 {
		t.Errorf("elsewhere the key came with %v", *requests)
	}
}

func TestAnAdminIsMadeWithAPasswordFromStandardInput(t *testing.T) {
	data, _, requests := serving(t, saying(201, `{"id":"usr_1"}`))
	truebond(t, " correct horse \r\n", "admin", "create", "--data", data.Path,
		"--email", "eve@example.com", "--role", "admin").ends(t, exitDone, "eve@example.com may now log in")
	got := onlyOne(t, requests)
	want := `POST /api/operator/staff map[email:eve@example.com name:eve password: correct horse  role:admin]`
	if s := fmt.Sprint(got.method, " ", got.uri, " ", got.body); s != want {
		t.Errorf("it asked %s\n     not %s", s, want)
	}
}

func TestWithoutAPasswordNobodyIsMade(t *testing.T) {
	data, _, requests := serving(t, saying(201, `{}`))
	for _, stdin := range []string{"", "\n", strings.Repeat("x", passwordBytesMax+1)} {
		truebond(t, stdin, "admin", "create", "--data", data.Path, "--email", "e@example.com", "--role", "admin").
			ends(t, exitFailed, "password")
	}
	if len(*requests) != 0 {
		t.Errorf("the server heard %v", *requests)
	}
}

func TestAKeyIsAllThatGoesToStandardOutput(t *testing.T) {
	data, _, requests := serving(t, saying(201, `{"id":"key_1","key":"tb_secret"}`))
	got := truebond(t, "", "apikey", "create", "--data", data.Path, "--name", "gifts", "--scope", "credits:deduct")
	got.ends(t, exitDone, "key_1")
	if got.out != "tb_secret\n" {
		t.Errorf("standard output is %q", got.out)
	}
	if s := fmt.Sprint(onlyOne(t, requests).body); s != "map[name:gifts scopes:[credits:deduct]]" {
		t.Errorf("it asked for %s", s)
	}
}

func TestARevocationWithoutAKeyAsksNobody(t *testing.T) {
	data, _, requests := serving(t, saying(200, `{}`))
	truebond(t, " \n", "apikey", "revoke", "--data", data.Path).ends(t, exitFailed, "there is no key on standard input")
	if len(*requests) != 0 {
		t.Errorf("the server heard %v", *requests)
	}
	truebond(t, "tb_1\n", "apikey", "revoke", "--data", data.Path).ends(t, exitDone, "useless")
	if s := fmt.Sprint(onlyOne(t, requests).body); s != "map[key:tb_1]" {
		t.Errorf("it asked for %s", s)
	}
}

func TestAKeyIsListedAndRevokedByItsID(t *testing.T) {
	data, _, requests := serving(t, saying(200, `{"data":[{"id":"key_2","name":"gifts","scopes":["credits:deduct"],"revoked":true},
		{"id":"key_1","name":"o\u001bs","scopes":["operator"],"revoked":false}],"has_more":false}`))
	got := truebond(t, "", "apikey", "list", "--data", data.Path)
	got.ends(t, exitDone, "")
	if got.out != "id     name   scopes          \nkey_2  gifts  credits:deduct  revoked\nkey_1  o s    operator        \n" {
		t.Errorf("the list is %q", got.out)
	}
	*requests = nil
	truebond(t, "", "apikey", "revoke", "key_1", "key_2", "--data", data.Path).ends(t, exitMisused, "one argument too many")
	truebond(t, "", "apikey", "revoke", "key_1", "--data", data.Path).ends(t, exitDone, "useless")
	if s := fmt.Sprint(onlyOne(t, requests).body); s != "map[id:key_1]" {
		t.Errorf("it asked for %s", s)
	}
}

func TestWhoIsWaitedForCanBreakOff(t *testing.T) {
	data, _, requests := serving(t, saying(200, `{}`))
	nobodyTypes, typing := io.Pipe()
	t.Cleanup(func() { typing.Close() }) //nolint:errcheck // it never fails
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{
		"apikey revoke --data " + data.Path,
		"admin create --email e@example.com --role admin --data " + data.Path,
		"trigger charge.updated --object - --data " + data.Path,
	} {
		var out bytes.Buffer
		if code := run(ctx, strings.Fields(line), nobodyTypes, &out, &out); code != exitFailed ||
			out.String() != "truebond: stopped before it was done\n" {
			t.Errorf("%s ended with %d: %s", line, code, &out)
		}
	}
	if err := confirm(ctx, nobodyTypes, io.Discard, "usr_1"); !errors.Is(err, context.Canceled) {
		t.Errorf("the confirmation ended with %v", err)
	}
	if len(*requests) != 0 {
		t.Errorf("the server heard %v", *requests)
	}
}

func TestErasingNamesThePersonAndTheReason(t *testing.T) {
	data, _, requests := serving(t, saying(200, `{}`))
	truebond(t, "", "erase", "usr_1", "--data", data.Path, "--reason", "a letter").ends(t, exitDone, "usr_1 is erased")
	if s := fmt.Sprint(onlyOne(t, requests).body); s != "map[reason:a letter user_id:usr_1]" {
		t.Errorf("it asked for %s", s)
	}
}

func TestRebuildingShowsHowFarItIs(t *testing.T) {
	data, _, requests := serving(t, saying(200, `{"view":"balances","done":0,"total":200}
{"view":"balances","done":1,"total":200}

{"view":"balances","done":100,"total":200}
{"view":"balances","done":200,"total":200}
`))
	got := truebond(t, "", "rebuild", "balances", "--data", data.Path)
	got.ends(t, exitDone, "")
	want := "balances: 0 of 200 events\nbalances: 100 of 200 events\nbalances: 200 of 200 events\n"
	if got.out != want {
		t.Errorf("it printed %q", got.out)
	}
	if s := fmt.Sprint(onlyOne(t, requests).body); s != "map[views:[balances]]" {
		t.Errorf("it asked for %s", s)
	}
}

func TestARebuildThatBreaksOffIsAFailure(t *testing.T) {
	for answer, fault := range map[string]string{
		`{"view":"balances","done":3,"total":5}`: "stopped before balances was built",
		`{"view":"balances","done":3,"total":5}` + "\n" +
			`{"problem":{"status":500,"code":"internal","detail":"The log lacks an event."}}`: "The log lacks an event.",
		`{"view":`: "read the server's answer",
	} {
		data, _, _ := serving(t, saying(200, answer))
		truebond(t, "", "rebuild", "--data", data.Path).ends(t, exitFailed, fault)
	}
}

func TestTailShowsEventsUntilTheServerStops(t *testing.T) {
	const line = `{"position":7,"event":{"key":"k","type":"message.sent","time":"2026-01-02T03:04:05Z",` +
		`"actor":"user/usr_1","moves":[{"from":"user/usr_1/lot_1","to":"spent/paid/messages",` +
		`"asset":"CREDIT","amount":1}],"data":{"x":1}}}`
	data, _, requests := serving(t, saying(200, line+"\n"))
	got := truebond(t, "", "tail", "--after", "6", "--data", data.Path)
	got.ends(t, exitFailed, "the server has stopped")
	want := "7  2026-01-02T03:04:05Z  message.sent  user/usr_1  k  user/usr_1/lot_1 → spent/paid/messages 1 CREDIT\n"
	if got.out != want {
		t.Errorf("it printed %q", got.out)
	}
	if h := onlyOne(t, requests); h.uri != "/api/operator/tail?after=6" {
		t.Errorf("it asked for %s", h.uri)
	}
	if got := truebond(t, "", "tail", "--json", "--data", data.Path); got.out != line+"\n" {
		t.Errorf("as JSON it printed %q", got.out)
	}
}

func TestARefusalIsOneClearLine(t *testing.T) {
	for _, told := range []struct{ answer, want string }{
		{`{"status":422,"code":"validation","title":"Unprocessable","detail":"Two fields are wrong.",` +
			`"errors":[{"pointer":"#/email","detail":"is taken"},{"pointer":"/role","detail":"is unknown"}]}`,
			"Two fields are wrong. /email: is taken /role: is unknown (validation, 422)"},
		{`{"status":404,"code":"unknown_user","detail":"There is none.",` +
			`"errors":[{"pointer":"#/user_id","detail":"There is none."}]}`, "There is none. (unknown_user, 422)"},
		{`<html>`, "Unprocessable Entity (422)"},
		{`{"detail":"a\u001b[2Jb\nc"}`, "a [2Jb c (422)"},
	} {
		data, _, _ := serving(t, saying(422, told.answer))
		got := truebond(t, "", "apikey", "create", "--data", data.Path, "--name", "n", "--scope", "s")
		if got.code != exitFailed || got.errout != "truebond: the server refused: "+told.want+"\n" {
			t.Errorf("it ended with %d and said %q", got.code, got.errout)
		}
	}
}

func TestARemoteServerGetsTheKeyAndTheSocketDoesNot(t *testing.T) {
	data, url, requests := serving(t, saying(201, `{"key":"k"}`))
	create := []string{"apikey", "create", "--name", "n", "--scope", "s"}
	truebond(t, "", append(create, "--server", url+"/", "--key", "tb_1")...).ends(t, exitDone, "k")
	truebond(t, "", append(create, "--data", data.Path)...).ends(t, exitDone, "k")
	if got := (*requests)[0].authorization; got != "Bearer tb_1" {
		t.Errorf("the remote server got %q", got)
	}
	if got := (*requests)[1].authorization; got != "" {
		t.Errorf("the socket got %q", got)
	}
}

func TestWithoutAServerItSaysSo(t *testing.T) {
	data, _, _ := serving(t, saying(200, ""))
	if err := data.RemoveNote(); err != nil {
		t.Fatal(err)
	}
	truebond(t, "", "tail", "--data", data.Path).ends(t, exitFailed, "no server is running on the data folder "+data.Path)

	killed, err := datafolder.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.WriteNote(datafolder.Note{Socket: killed.Join("operator.sock")}); err != nil {
		t.Fatal(err)
	}
	truebond(t, "", "tail", "--data", killed.Path).ends(t, exitFailed, "the last one was killed")
}

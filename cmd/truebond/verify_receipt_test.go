package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func aReceiptIsCheckedWithNothingButTheKey(t *testing.T, l laid) {
	good, err := os.ReadFile(l.receipt)
	if err != nil {
		t.Fatal(err)
	}
	code, said := runs(t, "verify", "receipt", l.receipt, "--key", l.key)
	for _, words := range []string{"The receipt is good: event 14", "message.sent", "1 CREDIT from user/"} {
		if code != exitDone || !strings.Contains(said, words) {
			t.Errorf("a good receipt, %d, %q:\n%s", code, words, said)
		}
	}
	with := func(change func(r map[string]any)) []byte {
		var r map[string]any
		if err := json.Unmarshal(good, &r); err != nil {
			t.Fatal(err)
		}
		change(r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	event := bytes.Replace(l.bodies[13], []byte(`"amount":1`), []byte(`"amount":2`), 1)
	for name, c := range map[string]struct {
		receipt []byte
		says    string
	}{
		"another event":    {with(func(r map[string]any) { r["event"] = event }), "its bytes were changed"},
		"another position": {with(func(r map[string]any) { r["position"], r["index"] = 13, 12 }), "event 13 is not proved"},
		"another size":     {with(func(r map[string]any) { r["size"] = 15 }), "a log of 15 events"},
		"a shorter path":   {with(func(r map[string]any) { r["path"] = r["path"].([]any)[1:] }), "event 14 is not proved"},
		"another hash in the path": {with(func(r map[string]any) {
			r["path"].([]any)[0] = base64.StdEncoding.EncodeToString(make([]byte, 32))
		}), "event 14 is not proved"},
		"half a hash in the path": {with(func(r map[string]any) { r["path"].([]any)[0] = "AAAA" }), "has 3 bytes"},
		"another checkpoint": {with(func(r map[string]any) {
			r["checkpoint"] = strings.Replace(r["checkpoint"].(string), "\n14\n", "\n15\n", 1)
		}), "not signed by this key"},
		"more than is checked": {with(func(r map[string]any) { r["note"] = "paid" }), `a member "note", which is not checked`},
		"another spelling":     {bytes.Replace(good, []byte(`"event"`), []byte(`"Event"`), 1), `a member "Event", which is not checked`},
		"another event before the one that is proved": {bytes.Replace(good, []byte(`"event":`), []byte(`"event":"AAAA","event":`), 1),
			`"event" comes twice`},
		"a changed bit that decodes to the same hash": {with(func(r map[string]any) {
			hash := []byte(r["path"].([]any)[0].(string)) // its last character has two bits that mean nothing
			hash[len(hash)-2]++
			r["path"].([]any)[0] = string(hash)
		}), `"path" is not written as a server writes it`},
		"no path": {with(func(r map[string]any) { delete(r, "path") }), `it has no "path"`},
		"no JSON": {[]byte("x"), "not a receipt"},
		"nothing": {[]byte("{}"), "not a receipt: it has no checkpoint"},
		"a refusal": {[]byte(`{"status":401,"code":"invalid_token","detail":"It is not valid."}`),
			"not a receipt, but what came in its place: the server refused: It is not valid. (invalid_token, 401)"},
	} {
		name2 := filepath.Join(t.TempDir(), "r")
		write(t, name2, c.receipt)
		if code, said := runs(t, "verify", "receipt", name2, "--key", l.key); code != exitFailed || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	if code, said := runs(t, "verify", "receipt", l.receipt); code != exitMisused || !strings.Contains(said, "--key is missing") {
		t.Errorf("no key: %d %s", code, said)
	}
	mistyped := strings.Replace(l.key, "truebond/", "truebond/0", 1)
	if code, said := runs(t, "verify", "receipt", l.receipt, "--key", mistyped); code != exitMisused {
		t.Errorf("a mistyped key: %d %s", code, said)
	}
	const others = "truebond/4fc017565f0a4ba9+37d8603b+AUge5LMKf0e2ZWko1BLqNySxmPt12er08zGdV9Od4aQk"
	if code, said := runs(t, "verify", "receipt", l.receipt, "--key", others); code != exitFailed ||
		!strings.Contains(said, "not signed by this key") {
		t.Errorf("another log's key: %d %s", code, said)
	}
}

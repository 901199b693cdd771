package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
)

func (p *person) sends(to *person, body string) (message string) {
	p.w.t.Helper()
	return p.post("/api/v2/messages/send", map[string]any{"to": to.id, "body": body}).is(201).get("message.id")
}

func TestWhoIsBlockedOrHasBlockedCannotWriteOrCall(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	ann.post("/api/users/"+bob.id+"/block", nil).is(200).says("blocked", true, "user_id", bob.id)
	ann.post("/api/users/"+bob.id+"/block", nil).is(200).says("blocked", true)
	before := w.position()
	for _, pair := range [][2]*person{{ann, bob}, {bob, ann}} {
		from, to := pair[0], pair[1]
		from.post("/api/v2/messages/send", map[string]any{"to": to.id, "body": "hello"}).is(403).
			says("code", "blocked")
		from.post("/api/calls/initiate", map[string]any{"to": to.id, "kind": "audio"}).is(403).
			says("code", "blocked")
		from.has(10)
	}
	w.ask("DELETE", "/api/users/"+ann.id+"/block", bob.token, nil).is(200) // he has blocked nobody
	bob.post("/api/v2/messages/send", map[string]any{"to": ann.id, "body": "hello"}).is(403)
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
	w.ask("DELETE", "/api/users/"+bob.id+"/block", ann.token, nil).is(200).says("blocked", false)
	bob.sends(ann, "hello")
	ann.post("/api/users/"+ann.id+"/block", nil).is(422)
	ann.post("/api/users/usr_none/block", nil).is(404)
	ann.post("/api/v2/messages/send", map[string]any{"to": "usr_none", "body": "hello"}).is(404)
}

func TestWhatBecomesOfAMessageIsSeenByBoth(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	first, second, third := ann.sends(bob, "one"), ann.sends(bob, "two 💌"), ann.sends(bob, "three")
	bob.get("/api/v2/messages/unread-count").is(200).says("unread", 3)
	ann.get("/api/v2/messages/unread-count").is(200).says("unread", 0)
	ann.get("/api/v2/messages/conversation/"+bob.id).is(200).
		says("data.1.body", "two 💌", "data.2.id", first, "data.2.delivered_at", "", "data.2.read_at", "")

	bob.post("/api/v2/messages/mark-delivered/"+first, nil).is(200).says("marked", 1)
	bob.post("/api/v2/messages/mark-delivered/"+first, nil).is(200)
	a := ann.get("/api/v2/messages/conversation/"+bob.id).is(200).says("data.2.read_at", "")
	if a.get("data.2.delivered_at") == "" {
		t.Errorf("a delivered message is not seen as such: %s", a.body)
	}
	bob.post("/api/v2/messages/mark-read", map[string]any{"message_ids": []string{first, second,
		first}}).is(200).
		says("marked", 2)
	bob.post("/api/v2/messages/mark-read", map[string]any{"message_ids": []string{first, second}}).is(200).
		says("marked", 0)
	bob.get("/api/v2/messages/unread-count").is(200).says("unread", 1)
	a = ann.get("/api/v2/messages/conversation/"+bob.id).is(200).says("data.0.read_at", "")
	if a.get("data.1.read_at") == "" || a.get("data.1.delivered_at") == "" {
		t.Errorf("a read message is not seen as such: %s", a.body)
	}
	bob.get("/api/v2/messages/conversations").is(200).says("data.0.partner_id", ann.id, "data.0.unread", 1,
		"data.0.last_message.id", third, "data.0.last_message.body", "three", "data.1", "")

	w.ask("DELETE", "/api/v2/messages/"+third, ann.token, nil).is(200).says("marked", 1)
	w.ask("DELETE", "/api/v2/messages/"+third, ann.token, nil).is(200)
	for _, pair := range [][2]*person{{ann, bob}, {bob, ann}} {
		me, other := pair[0], pair[1]
		me.get("/api/v2/messages/conversation/"+other.id).is(200).
			says("data.0.id", third, "data.0.deleted", true, "data.0.body", "", "data.1.deleted", false)
		me.get("/api/v2/messages/conversations").is(200).says("data.0.last_message.body", "", "data.0.unread", 0)
		me.get("/api/v2/messages/unread-count").is(200).says("unread", 0)
	}
	bob.post("/api/v2/messages/mark-delivered/"+third, nil).is(404)
	ann.has(7) // the charge of a deleted message stays
	ann.get("/api/v2/messages/stats").is(200).
		says("sent", 3, "received", 0, "unread", 0, "deleted", 1, "charged", 3)
	bob.get("/api/v2/messages/stats").is(200).
		says("sent", 0, "received", 3, "unread", 0, "deleted", 0, "charged", 0)
}

// pages are the values of a member over all pages of a list.
func (p *person) pages(path, member string, limit int) (values []string) {
	p.w.t.Helper()
	for cursor := ""; ; {
		a := p.get(fmt.Sprintf("%s?limit=%d&cursor=%s", path, limit, cursor)).is(200)
		n := len(listOf[any](a, "data"))
		if n > limit {
			p.w.t.Fatalf("%s gave %d for a limit of %d", path, n, limit)
		}
		for i := range n {
			values = append(values, a.get(fmt.Sprintf("data.%d.%s", i, member)))
		}
		if cursor = a.get("next_cursor"); cursor == "" {
			if a.get("has_more") != "false" {
				p.w.t.Fatalf("%s has more and no cursor: %s", path, a.body)
			}
			return values
		}
		if a.get("has_more") != "true" || n != limit {
			p.w.t.Fatalf("%s has a cursor after %d of %d: %s", path, n, limit, a.body)
		}
	}
}

func TestListsArePagedWithoutGapsAndCursorsAreBoundToTheirList(t *testing.T) {
	w := begin(t, embedded)
	ann, bob, cat := w.signsUp(), w.signsUp(), w.signsUp()
	for i := range 7 {
		ann.sends(bob, fmt.Sprint(i))
	}
	ann.sends(cat, "to cat")
	path := "/api/v2/messages/conversation/" + bob.id
	for _, limit := range []int{1, 2, 3, 7, 8} {
		if got := fmt.Sprint(ann.pages(path, "body", limit)); got != "[6 5 4 3 2 1 0]" {
			t.Errorf("in pages of %d: %s", limit, got)
		}
		if got := fmt.Sprint(ann.pages("/api/credits/history", "available_after",
			limit)); got != "[2 3 4 5 6 7 8 9 10]" {
			t.Errorf("the statement in pages of %d: %s", limit, got)
		}
		if got := ann.pages("/api/v2/messages/conversations", "partner_id", limit); len(got) != 2 ||
			got[0] != cat.id {
			t.Errorf("the conversations in pages of %d: %s", limit, got)
		}
	}
	cursor := ann.get(path + "?limit=2").is(200).get("next_cursor")
	ann.sends(bob, "meanwhile")
	ann.get(path+"?limit=5&cursor="+cursor).is(200).says("data.0.body", 4, "data.4.body", 0, "has_more", false)
	for _, other := range []string{"/api/v2/messages/conversation/" + cat.id, "/api/credits/history",
		"/api/v2/messages/conversations", "/api/calls/history"} {
		ann.get(other+"?cursor="+cursor).is(400).says("code", "invalid_cursor")
	}
	cat.get("/api/v2/messages/conversation/"+bob.id+"?cursor="+cursor).is(400).says("code", "invalid_cursor")
	bob.get("/api/v2/messages/conversation/"+ann.id+"?limit=1&cursor="+cursor).is(200).says("data.0.body", 4)
}

func TestCursorsThatWereTamperedWithShowNothingOfOthers(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	for range 3 {
		ann.sends(bob, "hello")
	}
	for _, path := range []string{"/api/v2/messages/conversation/" + bob.id, "/api/credits/history",
		"/api/v2/messages/conversations"} {
		bob.sends(ann, "hello")
		cursor := ann.get(path + "?limit=1").is(200).get("next_cursor")
		if cursor == "" {
			continue // there is one page
		}
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		for _, at := range []any{
			map[string]any{"v": []any{"text"}, "id": "x"}, map[string]any{"v": []any{1, 2}, "id": "x"},
			map[string]any{"v": []any{1.5}, "id": "x"}, map[string]any{"v": []any{map[string]any{"$gt": 0}},
				"id": "x"},
			map[string]any{"v": []any{nil}, "id": "x"}, map[string]any{"id": bob.id + "/9999999999999999"},
			map[string]any{"id": "\x00"}, map[string]any{"id": ""}, "text", nil, 7,
		} {
			c["at"] = at
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			a := ann.get(path + "?limit=100&cursor=" + base64.RawURLEncoding.EncodeToString(text))
			if a.status != 200 && a.status != 400 {
				t.Errorf("%s after %v: %d %s", path, at, a.status, a.body)
			}
			if a.status == 200 && bytes.Contains(a.body, []byte("signup/"+bob.id)) {
				t.Errorf("%s after %v shows somebody else's: %s", path, at, a.body)
			}
		}
	}
}

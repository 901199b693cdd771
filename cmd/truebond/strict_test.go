package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestABodyThatIsNotMeantIsRefusedByNameAndChangesNothing(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	key := w.apiKey("credits:deduct")
	before := w.position()
	charge := func(credits string) string {
		return fmt.Sprintf(`{"user_id":%q,"credits":%s,"reason":"r"}`, ann.id, credits)
	}
	for name, c := range map[string]struct {
		path, body string
		status     int
		pointer    string
	}{
		"an unknown field":  {"/api/credits/deduct", charge(`1,"price":0`), 400, "#/price"},
		"a text as number":  {"/api/credits/deduct", charge(`"1"`), 400, "#/credits"},
		"a fraction":        {"/api/credits/deduct", charge("1.5"), 400, "#/credits"},
		"an exponent":       {"/api/credits/deduct", charge("1e3"), 400, "#/credits"},
		"one point nought":  {"/api/credits/deduct", charge("1.0"), 400, "#/credits"},
		"beyond 64 bits":    {"/api/credits/deduct", charge("9223372036854775808"), 400, "#/credits"},
		"too many":          {"/api/credits/deduct", charge("1000001"), 422, "#/credits"},
		"nothing":           {"/api/credits/deduct", charge("0"), 422, "#/credits"},
		"less than nothing": {"/api/credits/deduct", charge("-5"), 422, "#/credits"},
		"null":              {"/api/credits/deduct", charge("null"), 400, "#/credits"},
		"a field twice":     {"/api/credits/deduct", charge(`1,"credits":2`), 400, "#/credits"},
		"other letters":     {"/api/credits/deduct", charge(`1,"Credits":2`), 400, "#/Credits"},
		"a list":            {"/api/credits/deduct", `[]`, 400, "#"},
		"trailing data":     {"/api/credits/deduct", charge("1") + "{}", 400, ""},
		"half":              {"/api/credits/deduct", `{"user_id":`, 400, ""},
		"not UTF-8":         {"/api/credits/deduct", charge("1") + "\xff", 400, ""},
		"too long":          {"/api/credits/deduct", charge("1") + strings.Repeat(" ", 1<<20), 413, ""},
		"an amount":         {"/api/credits/purchase", `{"package":"small","amount":1}`, 400, "#/amount"},
		"no currency":       {"/api/credits/purchase", `{"package":"small","currency":"BTC"}`, 422, "#/currency"},
		"a charge": {"/api/v2/messages/send", `{"to":"` + bob.id + `","body":"b","charged":0}`, 400,
			"#/charged"},
		"an empty message": {"/api/v2/messages/send", `{"to":"` + bob.id + `","body":""}`, 422, "#/body"},
		"a long message": {"/api/v2/messages/send", `{"to":"` + bob.id + `","body":"` +
			strings.Repeat("b", 4001) + `"}`, 422, "#/body"},
		"oneself": {"/api/v2/messages/send", `{"to":"` + ann.id + `","body":"b"}`, 422, "#/to"},
		"a duration": {"/api/calls/initiate", `{"to":"` + bob.id + `","kind":"audio","seconds":1}`, 400,
			"#/seconds"},
		"another kind":   {"/api/calls/initiate", `{"to":"` + bob.id + `","kind":"hologram"}`, 422, "#/kind"},
		"a text as list": {"/api/v2/messages/mark-read", `{"message_ids":"msg_1"}`, 400, "#/message_ids"},
		"a number in it": {"/api/v2/messages/mark-read", `{"message_ids":["a",1]}`, 400, "#/message_ids/1"},
		"an empty list":  {"/api/v2/messages/mark-read", `{"message_ids":[]}`, 422, "#/message_ids"},
	} {
		token := ann.token
		if strings.HasSuffix(c.path, "/deduct") {
			token = key
		}
		a := w.ask("POST", c.path, token, []byte(c.body), "Idempotency-Key", "strict")
		if a.status != c.status || a.get("errors.0.pointer") != c.pointer {
			t.Errorf("%s: %d at %q, want %d at %q: %s", name, a.status, a.get("errors.0.pointer"), c.status,
				c.pointer, a.body)
		}
		if a.header.Get("Content-Type") != "application/problem+json" || a.get("request_id") == "" {
			t.Errorf("%s: is answered by no problem: %v", name, a.header)
		}
	}
	none := w.ask("POST", "/api/credits/deduct", key, []byte(charge("0")), "Idempotency-Key", "strict")
	none.says("errors.0.detail", "must be no less than 1")
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
}

func TestQueriesThatAreNotMeantAreRefusedByName(t *testing.T) {
	w := begin(t, embedded)
	ann, admin, finance := w.signsUp().token, w.staff("admin"), w.staff("finance")
	for _, c := range []struct {
		token, path string
		status      int
		pointer     string
	}{
		{ann, "/api/credits/history?page=2", 400, "#/page"},
		{ann, "/api/credits/history?limit=0x10", 400, "#/limit"},
		{ann, "/api/credits/history?limit=101", 422, "#/limit"},
		{ann, "/api/credits/history?limit=-1", 422, "#/limit"},
		{ann, "/api/credits/history?limit=0", 422, "#/limit"},
		{ann, "/api/credits/history?limit=1&limit=2", 400, "#/limit"},
		{ann, "/api/credits/history?cursor=nonsense", 400, "#/cursor"},
		{ann, "/api/credits/balance?user_id=usr_1", 400, "#/user_id"},
		{admin, "/api/admin/audit?user=x", 400, "#/user"},
		{admin, "/api/admin/audit?from=yesterday", 422, "#/from"},
		{finance, "/api/finance/trial-balance?date=2026-01-01", 400, "#/date"},
		{finance, "/api/finance/trial-balance?as_of=2026-13-01", 422, "#/as_of"},
		{finance, "/api/finance/journal?until=2026-01-01", 422, "#/until"},
	} {
		a := w.ask("GET", c.path, c.token, nil)
		if a.status != c.status || a.get("errors.0.pointer") != c.pointer {
			t.Errorf("%s: %d at %q, want %d at %q: %s",
				c.path, a.status, a.get("errors.0.pointer"), c.status, c.pointer, a.body)
		}
	}
}

func TestAKeyIsGoodForOneRequestHoweverOftenItComes(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	send := func(body, key string) answer {
		return w.ask("POST", "/api/v2/messages/send", ann.token,
			[]byte(fmt.Sprintf(`{"to":%q,"body":%q}`, bob.id, body)), "Idempotency-Key", key)
	}
	first := send("hello", "one").is(201)
	again := send("hello", "one").is(201)
	if string(first.body) != string(again.body) || again.header.Get("Idempotent-Replayed") != "true" ||
		first.header.Get("Idempotent-Replayed") != "" ||
		again.header.Get("Ledger-Position") != first.header.Get("Ledger-Position") {
		t.Errorf("the first answer is %s %v, the second %s %v", first.body, first.header, again.body, again.header)
	}
	w.ask("POST", "/api/v2/messages/send", ann.token, []byte(fmt.Sprintf(` { "body" : "hello" , "to" : %q } `,
		bob.id)),
		"Idempotency-Key", "one").is(201)
	send("another", "one").is(422).says("code", "key_reused")
	ann.w.ask("POST", "/api/calls/initiate", ann.token, map[string]any{"to": bob.id, "kind": "audio"},
		"Idempotency-Key", "one").is(422).says("code", "key_reused")
	w.ask("POST", "/api/v2/messages/send", bob.token, map[string]any{"to": ann.id, "body": "hello"},
		"Idempotency-Key", "one").is(201) // bob's key is his own
	w.ask("POST", "/api/v2/messages/send", bob.token, map[string]any{"to": bob.id, "body": "hello"},
		"Idempotency-Key", "two").is(422).says("code", "invalid_request")
	w.ask("POST", "/api/v2/messages/send", bob.token, map[string]any{"to": ann.id, "body": "hello"},
		"Idempotency-Key", "two").is(201) // a refusal has not used it up
	for _, key := range []string{"with space", "é", strings.Repeat("k", 129), "\t"} {
		send("hello", key).is(400)
	}
	ann.has(9)
	bob.has(8)
}

func TestOfParallelRequestsWithOneKeyOneHasAnEffect(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	for path, body := range map[string]any{
		"/api/v2/messages/send": map[string]any{"to": bob.id, "body": "hello"},
		"/api/credits/purchase": map[string]any{"package": "small"},
	} {
		var all sync.WaitGroup
		answers := make(chan answer, 20)
		for range cap(answers) {
			all.Go(func() { answers <- w.ask("POST", path, ann.token, body, "Idempotency-Key", "parallel"+path) })
		}
		all.Wait()
		close(answers)
		first, made := 0, map[string]bool{}
		for a := range answers {
			switch {
			case a.status == 201:
				made[string(a.body)] = true
				if a.header.Get("Idempotent-Replayed") == "" {
					first++
				}
			case a.status != 409 || a.get("code") != "key_busy":
				t.Errorf("%s answered %d %s", path, a.status, a.body)
			}
		}
		if first != 1 || len(made) != 1 {
			t.Errorf("%s: %d were the first, with %d different answers", path, first, len(made))
		}
	}
	ann.has(9)
	if payments := listOf[any](ann.get("/api/payments/history").is(200), "data"); len(payments) != 1 {
		t.Errorf("there are %d payments", len(payments))
	}
}

func TestAPurchaseTriedAgainIsTheFirstOne(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	buy := func(body map[string]any) answer {
		return w.ask("POST", "/api/credits/purchase", ann.token, body, "Idempotency-Key", "buy")
	}
	first := buy(map[string]any{"package": "small"}).is(201)
	again := buy(map[string]any{"package": "small"}).is(201)
	if string(first.body) != string(again.body) || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the first answer is %s, the second %s", first.body, again.body)
	}
	buy(map[string]any{"package": "large"}).is(422).says("code", "key_reused")
	buy(map[string]any{"package": "small", "currency": "EUR"}).is(422).says("code", "key_reused")
}

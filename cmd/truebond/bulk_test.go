package main

import (
	"fmt"
	"strings"
	"testing"
)

// item is one charge of a bulk.
func item(key, user string, credits int, reason string) map[string]any {
	return map[string]any{"idempotency_key": key, "user_id": user, "credits": credits, "reason": reason}
}

func TestEachChargeOfABulkStandsForItself(t *testing.T) {
	for _, where := range everywhere {
		t.Run(where.name, func(t *testing.T) {
			w := begin(t, where)
			ann, bob := w.signsUp(), w.signsUp()
			key := w.apiKey("credits:deduct")
			bulk := func(items ...any) answer {
				t.Helper()
				return w.ask("POST", "/api/credits/deduct/bulk", key, map[string]any{"items": items}).is(200)
			}
			all := []any{
				item("a", ann.id, 4, "a rose"), item("b", bob.id, 11, "too much"), item("c", "usr_nobody", 1, "for nobody"),
				item("d", ann.id, 6, "the rest"), item("e", ann.id, 11, "too much"), item("f", bob.id, 10, "all"),
			}
			first := bulk(all...).says(
				"results.0.status", 201, "results.0.charged", 4, "results.0.replayed", "",
				"results.1.status", 402, "results.1.problem.code", "insufficient_credits",
				"results.1.problem.required", 11,
				"results.2.status", 404, "results.2.problem.code", "unknown_user",
				"results.3.status", 201, "results.3.charged", 6, "results.4.status", 402,
				"results.5.status", 201, "results.5.charged", 10, "results.5.available", 0)
			if last := first.header.Get("Ledger-Position"); last != w.position() {
				t.Errorf("the last charge is at %s, the header says %s", w.position(), last)
			}
			ann.has(0)
			bob.has(0)
			before := w.position()
			bulk(all...).says("results.0.status", 201, "results.0.replayed", true, "results.0.available", first.get("results.0.available"),
				"results.0.position", first.get("results.0.position"), "results.1.status", 402,
				"results.5.replayed", true, "results.5.position", first.get("results.5.position"))
			bulk(item("a", ann.id, 5, "a rose"), item("d", ann.id, 6, "the rest")).says(
				"results.0.status", 422, "results.0.problem.code", "key_reused", "results.1.replayed", true)
			if after := w.position(); after != before {
				t.Errorf("replays made the log grow from %s to %s", before, after)
			}
		})
	}
}

func TestASingleChargeAndOneOfABulkAreTheSameCharge(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	key, other := w.apiKey("credits:deduct"), w.apiKey("credits:deduct")
	single := func(token, id, body string) answer {
		t.Helper()
		return w.ask("POST", "/api/credits/deduct", token, []byte(body), "Idempotency-Key", id)
	}
	const reason = `<b> & "quoted" caf\u00e9 \ud83c\udf39 / \/`
	const plain = `<b> & "quoted" café 🌹 / /`
	escaped := strings.ReplaceAll(strings.ReplaceAll(reason, `"`, `\"`), `\\u`, `\u`)
	body := fmt.Sprintf(`{ "reason": "%s",  "credits":2, "user_id":%q}`, escaped, ann.id)
	first := single(key, "one", body).is(201)
	w.ask("POST", "/api/credits/deduct/bulk", key, map[string]any{"items": []any{
		item("one", ann.id, 2, plain), item("two", ann.id, 1, plain),
	}}).is(200).says("results.0.replayed", true, "results.0.position", first.get("position"),
		"results.0.available", 8, "results.1.status", 201, "results.1.available", 7)
	again := single(key, "two", strings.Replace(body, ":2,", ":1,", 1)).is(201).says("available", 7)
	if again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a charge of a bulk is not replayed by a single one: %v", again.header)
	}
	single(key, "two", body).is(422).says("code", "key_reused")
	single(other, "two", body).is(201).says("available", 5) // another app's key is another key
}

func TestABulkThatIsNotMeantIsRefusedByItemAndChangesNothing(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	key := w.apiKey("credits:deduct")
	before := w.position()
	good := func(i int) string {
		return fmt.Sprintf(`{"idempotency_key":"k%d","user_id":%q,"credits":1,"reason":"r"}`, i, ann.id)
	}
	with := func(bad string) string {
		items := make([]string, 18)
		for i := range items {
			items[i] = good(i)
		}
		items[17] = bad
		return `{"items":[` + strings.Join(items, ",") + `]}`
	}
	changed := func(old, now string) string { return with(strings.Replace(good(17), old, now, 1)) }
	for name, c := range map[string]struct {
		body    string
		status  int
		pointer string
	}{
		"a text as number": {changed(`:1,`, `:"1",`), 400, "#/items/17/credits"},
		"an unknown field": {changed(`}`, `,"price":0}`), 400, "#/items/17/price"},
		"a field twice":    {changed(`}`, `,"credits":2}`), 400, "#/items/17/credits"},
		"no object":        {with(`[]`), 400, "#/items/17"},
		"null":             {with(`null`), 400, "#/items/17"},
		"nothing":          {changed(`:1,`, `:0,`), 422, "#/items/17/credits"},
		"no key":           {changed(`"idempotency_key":"k17",`, ``), 422, "#/items/17/idempotency_key"},
		"a bad key":        {changed(`k17`, `k 17`), 422, "#/items/17/idempotency_key"},
		"a key twice":      {changed(`k17`, `k3`), 422, "#/items/17/idempotency_key"},
		"no items":         {`{"items":[]}`, 422, "#/items"},
		"too many":         {`{"items":[` + strings.Repeat(good(1)+",", 1000) + good(1) + `]}`, 422, "#/items"},
		"a single charge":  {good(1), 400, "#/idempotency_key"},
		"too long":         {`{"items":[]` + strings.Repeat(" ", 3<<20) + `}`, 413, ""},
	} {
		a := w.ask("POST", "/api/credits/deduct/bulk", key, []byte(c.body))
		if a.status != c.status || a.get("errors.0.pointer") != c.pointer {
			t.Errorf("%s: %d at %q, want %d at %q: %s", name, a.status, a.get("errors.0.pointer"), c.status, c.pointer, a.body)
		}
	}
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
}

func TestTheLargestBulkThereCanBeIsTaken(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	items := make([]string, 1000)
	for i := range items {
		items[i] = fmt.Sprintf(`{"idempotency_key":"%0128d","user_id":%q,"credits":1,"reason":"%s"}`, i, ann.id,
			strings.Repeat(`\ud83c\udf39`, 200))
	}
	body := []byte(`{"items":[` + strings.Join(items, ",") + `]}`)
	a := w.ask("POST", "/api/credits/deduct/bulk", w.apiKey("credits:deduct"), body).is(200)
	answered := map[int]int{}
	for _, r := range listOf[struct{ Status int }](a, "results") {
		answered[r.Status]++
	}
	if answered[201] != 10 || answered[402] != 990 {
		t.Errorf("of 1,000 charges for 10 credits, so many got each status: %v", answered)
	}
	ann.has(0)
}

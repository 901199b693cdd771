package main

import (
	"strconv"
	"strings"
	"testing"
)

// The statuses that do not follow from a route's line are written there by hand.
func TestTheDocumentTellsWhatARouteRefuses(t *testing.T) {
	w := begin(t, embedded)
	ann, poor, finance, key := w.signsUp(), w.signsUp(), w.staff("finance"), w.apiKey("credits:deduct")
	w.ask("POST", "/api/credits/deduct", key, charges(poor.id, 10), "Idempotency-Key", "all").is(201)
	none := map[string]any{"call_id": "call_none"}
	document := w.ask("GET", "/openapi.json", "", nil).is(200)
	for _, c := range []struct {
		method, path, token string
		body                any
		status              int
	}{
		{"POST", "/api/auth/login", "", map[string]any{"email": "a@example.com", "password": "wrong"}, 401},
		{"POST", "/api/auth/refresh", "", map[string]any{"refresh_token": "none"}, 401},
		{"POST", "/api/credits/deduct", key, charges(poor.id, 1), 402},
		{"POST", "/api/credits/deduct", key, charges("usr_none", 1), 404},
		{"POST", "/api/v2/messages/send", poor.token, map[string]any{"to": ann.id, "body": "b"}, 402},
		{"POST", "/api/v2/messages/send", ann.token, map[string]any{"to": "usr_none", "body": "b"}, 404},
		{"POST", "/api/v2/messages/mark-read", ann.token, map[string]any{"message_ids": []string{"msg_none"}}, 404},
		{"POST", "/api/calls/initiate", poor.token, map[string]any{"to": ann.id, "kind": "audio"}, 402},
		{"POST", "/api/calls/initiate", ann.token, map[string]any{"to": "usr_none", "kind": "audio"}, 404},
		{"POST", "/api/calls/accept", ann.token, none, 404},
		{"POST", "/api/calls/reject", ann.token, none, 404},
		{"POST", "/api/calls/end", ann.token, none, 404},
		{"POST", "/api/calls/heartbeat", ann.token, none, 404},
		{"POST", "/api/payments/simulate/payment", ann.token, map[string]any{"intent_id": "pi_none"}, 404},
		{"POST", "/api/webhooks/stripe", "", make([]byte, 2<<20), 413},
		{"GET", "/api/finance/trial-balance?as_of=now", finance, nil, 422},
	} {
		a := w.ask(c.method, c.path, c.token, c.body, "Idempotency-Key", "refused")
		if a.status != c.status {
			t.Errorf("%s %s answered %d, want %d: %s", c.method, c.path, a.status, c.status, a.body)
		}
		path, _, _ := strings.Cut(c.path, "?")
		operation := document.members["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(c.method)]
		if operation.(map[string]any)["responses"].(map[string]any)[strconv.Itoa(c.status)] == nil {
			t.Errorf("the document does not say that %s %s answers %d", c.method, c.path, c.status)
		}
	}
}

func charges(user string, credits int) map[string]any {
	return map[string]any{"user_id": user, "credits": credits, "reason": "r"}
}

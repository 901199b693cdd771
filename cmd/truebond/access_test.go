package main

import (
	"context"
	"encoding/json"
	nethttp "net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/ledger"
)

// Who may use a route, by the name of their credential.
var (
	anybody     = []string{"nobody", "user", "admin", "finance", "charging app", "operating app"}
	people      = []string{"user", "admin", "finance"}
	users       = []string{"user"}
	admins      = []string{"admin"}
	accountants = []string{"finance"}
	chargers    = []string{"charging app"}
	auditors    = []string{"admin", "finance", "operating app"}
	operators   = []string{"operating app"} // over TCP; the socket needs no credential
)

// access is the whole table of who may do what, written once more and by hand.
var access = map[string][]string{
	"POST /api/auth/signup": anybody, "POST /api/auth/login": anybody, "POST /api/auth/refresh": anybody,
	"POST /api/auth/logout": people, "GET /api/auth/me": people,

	"GET /api/credits/balance": users, "GET /api/credits/history": users, "GET /api/credits/pricing": anybody,
	"POST /api/credits/purchase": users, "POST /api/credits/deduct": chargers,
	"POST /api/credits/deduct/bulk": chargers,

	"POST /api/payments/intent/create": users, "GET /api/payments/intent/{id}": users,
	"POST /api/payments/intent/{id}/cancel": users, "GET /api/payments/packages": anybody,
	"GET /api/payments/history": users, "POST /api/payments/simulate/payment": users,
	"POST /api/webhooks/stripe": anybody,

	"POST /api/v2/messages/send": users, "GET /api/v2/messages/conversation/{partner_id}": users,
	"GET /api/v2/messages/conversations": users, "POST /api/v2/messages/mark-delivered/{message_id}": users,
	"POST /api/v2/messages/mark-read": users, "GET /api/v2/messages/unread-count": users,
	"DELETE /api/v2/messages/{message_id}": users, "GET /api/v2/messages/stats": users,

	"POST /api/calls/initiate": users, "POST /api/calls/accept": users, "POST /api/calls/reject": users,
	"POST /api/calls/end": users, "POST /api/calls/heartbeat": users, "GET /api/calls/active": users,
	"GET /api/calls/history": users,

	"POST /api/users/{id}/block": users, "DELETE /api/users/{id}/block": users,

	"GET /api/admin/audit": admins, "GET /api/finance/trial-balance": accountants,
	"GET /api/finance/journal": accountants,

	"GET /api/audit/key": anybody, "GET /api/audit/checkpoint": anybody, "GET /api/audit/consistency": anybody,
	"GET /api/audit/proof/{position}": anybody, "GET /api/audit/tile/{level}/{index}": anybody,
	"GET /api/audit/tile/entries/{index}": auditors, "GET /api/audit/events/{position}": auditors,
	"GET /api/audit/receipt/{position}": auditors,

	"POST /api/operator/staff": operators, "POST /api/operator/api-keys": operators,
	"POST /api/operator/api-keys/revoke": operators, "GET /api/operator/api-keys": operators,
	"POST /api/operator/erase": operators, "POST /api/operator/rebuild": operators,
	"POST /api/operator/compare": operators, "POST /api/operator/archive": operators,
	"GET /api/operator/intents/{id}": operators, "GET /api/operator/tail": operators,

	"POST /api/test-clock/advance": anybody,
}

var placeholder = regexp.MustCompile(`\{[^}]+\}`)

func TestEachRouteLetsInThoseItIsForAndNobodyElse(t *testing.T) {
	w := begin(t, embedded)
	credentials := map[string]string{
		"nobody": "", "user": w.signsUp().token, "admin": w.staff("admin"), "finance": w.staff("finance"),
		"charging app": w.apiKey("credits:deduct"), "operating app": w.apiKey("operator"),
	}
	routes := w.routes()
	for _, route := range routes {
		allowed, known := access[route]
		if !known {
			t.Errorf("nobody has said who may use %s", route)
			continue
		}
		for who, credential := range credentials {
			if route == "POST /api/auth/logout" && credential != "" && slices.Contains(people, who) {
				continue // it would be the last that this token does
			}
			status := w.statusOf(route, credential)
			switch {
			case slices.Contains(allowed, who):
				if status == 401 || status == 403 || status >= 500 {
					t.Errorf("%s is for %s, who got %d", route, who, status)
				}
			case credential == "":
				if status != 401 {
					t.Errorf("%s answered %d without a credential, want 401", route, status)
				}
			case status != 403:
				t.Errorf("%s answered %s with %d, want 403", route, who, status)
			}
		}
	}
	for route := range access {
		if !slices.Contains(routes, route) {
			t.Errorf("%s is not in the OpenAPI document", route)
		}
	}
}

// routes are all that the OpenAPI document lists.
func (w *world) routes() (routes []string) {
	w.t.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(w.ask("GET", "/openapi.json", "", nil).is(200).body, &document); err != nil {
		w.t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			routes = append(routes, strings.ToUpper(method)+" "+path)
		}
	}
	return routes
}

// statusOf asks a route with nothing in the request but a credential. It does not read the
// answer, which may have no end.
func (w *world) statusOf(route, credential string) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	method, path, _ := strings.Cut(route, " ")
	request, err := nethttp.NewRequestWithContext(ctx, method, w.url+placeholder.ReplaceAllString(path,
		"nothing"), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	answer, err := nethttp.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatalf("%s: %v", route, err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is of no interest
	return answer.StatusCode
}

func (w *world) apiKey(scopes ...string) string {
	w.t.Helper()
	return w.operate("/api/operator/api-keys", map[string]any{"name": "an app",
		"scopes": scopes}).is(201).get("key")
}

func TestOtherPeoplesThingsCannotBeSeenOrTouched(t *testing.T) {
	w := begin(t, embedded)
	ann, bob, eve := w.signsUp(), w.signsUp(), w.signsUp()
	intent := ann.post("/api/credits/purchase", map[string]any{"package": "small"}).is(201).get("intent_id")
	message := ann.post("/api/v2/messages/send", map[string]any{"to": bob.id,
		"body": "for bob"}).is(201).get("message.id")
	call := ann.post("/api/calls/initiate", map[string]any{"to": bob.id, "kind": "audio"}).is(201).get("call.id")
	before := w.position()

	eve.get("/api/payments/intent/" + intent).is(404)
	eve.post("/api/payments/intent/"+intent+"/cancel", nil).is(404)
	eve.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(404)
	eve.post("/api/v2/messages/mark-delivered/"+message, nil).is(404)
	eve.post("/api/v2/messages/mark-read", map[string]any{"message_ids": []string{message}}).is(404)
	w.ask("DELETE", "/api/v2/messages/"+message, eve.token, nil).is(404)
	w.ask("DELETE", "/api/v2/messages/"+message, bob.token, nil).is(403).says("code", "not_yours")
	ann.post("/api/v2/messages/mark-read", map[string]any{"message_ids": []string{message}}).is(404)
	for _, verb := range []string{"accept", "reject", "end", "heartbeat"} {
		eve.post("/api/calls/"+verb, map[string]any{"call_id": call}).is(404)
	}
	for _, path := range []string{"/api/v2/messages/conversation/" + ann.id, "/api/v2/messages/conversations",
		"/api/calls/history", "/api/calls/active", "/api/payments/history"} {
		if a := eve.get(path).is(200); len(listOf[any](a, "data")) != 0 {
			t.Errorf("%s shows somebody else's things: %s", path, a.body)
		}
	}
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
}

// strangeIDs are what nobody's id looks like.
var strangeIDs = []string{"usr_none", "%00", "%F0%9F%92%A9", "..%2f..", "%24where", "a%2Fb", "%20",
	"'%20OR%201=1--",
	strings.Repeat("x", 500), strings.Repeat("x", 2000)}

func TestIDsThatNobodyHasAreNoTrouble(t *testing.T) {
	w := begin(t, embedded)
	ann := w.signsUp()
	before := w.position()
	for _, id := range strangeIDs {
		for _, route := range []string{
			"GET /api/payments/intent/{id}", "POST /api/payments/intent/{id}/cancel",
			"GET /api/v2/messages/conversation/{id}", "POST /api/v2/messages/mark-delivered/{id}",
			"DELETE /api/v2/messages/{id}", "POST /api/users/{id}/block", "DELETE /api/users/{id}/block",
		} {
			method, path, _ := strings.Cut(route, " ")
			if a := w.ask(method, strings.Replace(path, "{id}", id, 1), ann.token, nil); a.status >= 500 {
				t.Errorf("%s with %q: %d %s", route, id, a.status, a.body)
			}
		}
	}
	for _, id := range []string{"\x00", "$where", "💩", "a/b", "é", "\u2028"} {
		for path, body := range map[string]any{
			"/api/v2/messages/send":          map[string]any{"to": id, "body": "hello"},
			"/api/calls/initiate":            map[string]any{"to": id, "kind": "audio"},
			"/api/calls/accept":              map[string]any{"call_id": id},
			"/api/calls/heartbeat":           map[string]any{"call_id": id},
			"/api/v2/messages/mark-read":     map[string]any{"message_ids": []string{id}},
			"/api/payments/simulate/payment": map[string]any{"intent_id": id},
			"/api/credits/purchase":          map[string]any{"package": id},
		} {
			if a := ann.post(path, body); a.status >= 500 || a.status < 400 {
				t.Errorf("%s with %q: %d %s", path, id, a.status, a.body)
			}
		}
	}
	if after := w.position(); after != before {
		t.Errorf("the log has grown from %s to %s", before, after)
	}
}

// As a key that has leaked, or whose holder has left and taken it along.
func TestAKeyThatNobodyHasAtHandIsRevokedByItsID(t *testing.T) {
	for _, where := range everywhere {
		t.Run(where.name, func(t *testing.T) {
			w := begin(t, where)
			operator := w.apiKey(ledger.ScopeOperator)
			list := func() answer { return w.ask("GET", "/api/operator/api-keys?limit=2", operator, nil).is(200) }
			w.apiKey(ledger.ScopeDeduct)
			leaked := w.operate("/api/operator/api-keys", map[string]any{"name": "leaked",
				"scopes": []string{ledger.ScopeOperator}}).is(201)
			id, key := leaked.get("id"), leaked.get("key")
			first := list().says("data.0.id", id, "data.0.name", "leaked", "data.0.scopes.0", "operator",
				"data.0.revoked", false, "data.1.name", "an app", "data.2", "", "has_more", true)
			next := w.ask("GET", "/api/operator/api-keys?limit=2&cursor="+first.get("next_cursor"), operator, nil)
			next.is(200).says("data.0.name", "an app", "data.1", "", "has_more", false)

			revoke := func(in map[string]any) answer { return w.operate("/api/operator/api-keys/revoke", in) }
			revoke(map[string]any{}).is(422).says("errors.0.pointer", "#/id")
			revoke(map[string]any{"id": id, "key": key}).is(422).says("errors.0.pointer", "#/id")
			revoke(map[string]any{"id": "key_of_nobody"}).is(404)
			w.ask("GET", "/api/operator/api-keys", key, nil).is(200)
			revoke(map[string]any{"id": id}).is(200).says("id", id, "revoked", true)
			revoke(map[string]any{"id": id}).is(200).says("revoked", true)
			w.ask("GET", "/api/operator/api-keys", key, nil).is(401)
			list().says("data.0.id", id, "data.0.revoked", true, "data.1.revoked", false)
		})
	}
}

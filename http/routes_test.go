package http

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"truebond/commands"
	"truebond/ledger"
	"truebond/queries"
)

// What is open to anyone is said here once more, so that nothing becomes so by mistake.
var openToAnyone = []string{
	"GET /api/audit/checkpoint", "GET /api/audit/consistency", "GET /api/audit/key",
	"GET /api/audit/proof/{position}", "GET /api/audit/tile/{level}/{index...}",
	"GET /api/credits/pricing",
	"GET /api/payments/packages",
	"POST /api/auth/login",
	"POST /api/auth/refresh",
	"POST /api/auth/signup",
	"POST /api/test-clock/advance",
	"POST /api/webhooks/stripe",
}

// Every route of the product, with every kind of caller that has no business there.
func TestNobodyGetsInWhereHeHasNoBusiness(t *testing.T) {
	routes := Routes(&commands.Service{}, &queries.Service{}, noOperator{})
	b := serving(t, routes)
	b.keys["tb_none"], b.keys["tb_deduct"] = nil, []string{"credits:deduct"}
	b.keys["tb_operator"] = []string{"operator"}
	callers := map[string]string{ledger.RoleUser: b.as("usr_1", ledger.RoleUser), ledger.RoleAdmin: b.as("usr_2", ledger.RoleAdmin),
		ledger.RoleFinance: b.as("usr_3", ledger.RoleFinance), "a role of no route": b.as("usr_4", "owner"),
		"an app without scopes": "Bearer tb_none", "credits:deduct": "Bearer tb_deduct",
		ledger.ScopeOperator: "Bearer tb_operator"}
	var open []string
	for i := range routes {
		r := &routes[i]
		if r.open {
			open = append(open, r.key())
			continue
		}
		path := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(r.path, "x")
		b.send(r.method, path, "").wants(t, 401, "unauthorized")
		for who, credential := range callers {
			if slices.Contains(r.roles, who) || slices.Contains(r.scopes, who) || r.operators && who == ledger.ScopeOperator {
				continue
			}
			t.Run(who+" "+r.key(), func(t *testing.T) {
				b.send(r.method, path, "", "Authorization", credential).wants(t, 403, "forbidden")
			})
		}
	}
	slices.Sort(open)
	if !slices.Equal(open, openToAnyone) {
		t.Errorf("open to anyone are %q", open)
	}
}

func TestTheTableKeepsTheProductsPromises(t *testing.T) {
	allowed := map[string][]string{"/api/admin/": {ledger.RoleAdmin}, "/api/finance/": {ledger.RoleFinance, ledger.RoleAdmin}}
	for _, r := range Routes(&commands.Service{}, &queries.Service{}, noOperator{}) {
		for prefix, roles := range allowed {
			if strings.HasPrefix(r.path, prefix) && slices.ContainsFunc(r.roles, func(role string) bool {
				return !slices.Contains(roles, role)
			}) {
				t.Errorf("%s is for %q", r.key(), r.roles)
			}
		}
		if strings.HasPrefix(r.path, "/api/operator/") && (len(r.roles) > 0 || !r.operators) {
			t.Errorf("%s is not the operator's alone", r.key())
		}
		switch r.key() {
		case "POST /api/auth/signup", "POST /api/auth/login":
			if r.limit != (rate{20, perMinute}) {
				t.Errorf("%s has the limit %v", r.key(), r.limit)
			}
		case "POST /api/v2/messages/send":
			if r.limit.count < 120 || r.limit.period != perMinute || !r.once {
				t.Errorf("%s has the limit %v, and once is %v", r.key(), r.limit, r.once)
			}
		case "POST /api/webhooks/stripe":
			if !r.unlimited || !r.raw {
				t.Errorf("a webhook can be lost")
			}
		case "POST /api/credits/deduct":
			if len(r.roles) > 0 || !slices.Equal(r.scopes, []string{"credits:deduct"}) || !r.once {
				t.Errorf("%s is for %q %q", r.key(), r.roles, r.scopes)
			}
		}
	}
	if addressPerMinute < 600 {
		t.Errorf("an address may send %d requests a minute", addressPerMinute)
	}
}

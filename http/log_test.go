package http

import (
	"context"
	"strings"
	"testing"

	"truebond/ledger"
)

func TestEachRequestIsOneLineThatNamesNoPerson(t *testing.T) {
	type withID struct {
		ID string `param:"id"`
	}
	b := serving(t, []Route{
		get("/payments/{id}", func(context.Context, withID) (nothing, error) {
			return nothing{}, ledger.Refuse("not_found", "asha@example.com is not there.")
		}, "Read", user),
	})
	access := b.as("usr_1", "user")
	b.send("GET", "/payments/pi_0123456789abcdef", "", "Authorization", access, "X-Request-Id", "r-1").
		wants(t, 404, "not_found")
	b.send("GET", "/payments/pi_0123456789abcdef?email=asha@example.com", "", "Authorization", "Bearer eyJ.no.no").
		wants(t, 401, "invalid_token")
	b.send("GET", "/asha@example.com/pi_0123456789abcdef", "")
	lines := linesWith(b.log.String(), "msg=request")
	if len(lines) != 3 {
		t.Fatalf("logged %q", lines)
	}
	for _, part := range []string{"request_id=r-1", "method=GET", "route=/payments/{id}", "status=404", "code=not_found",
		"actor=user/usr_1", "address=127.0.0.1", "took_ms=", "level=INFO"} {
		if !strings.Contains(lines[0], part) {
			t.Errorf("%s is not in %q", part, lines[0])
		}
	}
	if !strings.Contains(lines[1], "code=invalid_token") || !strings.Contains(lines[2], "route=unmatched") {
		t.Errorf("refusals are not recorded: %q", lines[1:])
	}
	for _, planted := range []string{"asha", "0123456789abcdef", "eyJ", strings.TrimPrefix(access, "Bearer ")} {
		if strings.Contains(b.log.String(), planted) {
			t.Errorf("%s is in the log: %s", planted, b.log.String())
		}
	}
}

package http

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"truebond/ledger"
)

// What is planted in a log in every way there is must not be found in it.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	secrets := []string{
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJl", "Bearer abcdefghijkl", "tb_0123456789abcdef",
		"sk_test_0123456789abcdef", "whsec_0123456789abcdef", "pi_0123456789abcdef", "ch_0123456789abcdef",
		"cus_0123456789abcdef", "re_0123456789abcdef", "sub_0123456789abcdef", "asha@example.com",
		"asha.k+1@mail.example.co.in",
		"asha%40example.com", "pi_0123456789abcdef_secret_0123456789", "jürgen@bücher.example",
	}
	for _, secret := range secrets {
		var out bytes.Buffer
		log := slog.New(Masked(slog.NewTextHandler(&out, nil)))
		err := errors.New("send to " + secret + ": refused")
		log.Info("about "+secret, "plain", secret, "within", "before "+secret+", after", "error", err)
		log.Info("any", "list", []string{secret}, "struct", struct{ Of string }{secret},
			"map", map[string]string{"a": secret})
		log.With("with", secret).WithGroup("group").Info("more", slog.Group("inner", slog.String("deep", secret)))
		log.Info("valuer", "v", valuer{secret})
		log.Info("named", "password", "correct horse", "Authorization", "x", "email", "x", "refresh_token", "correct horse")
		if hidden := strings.TrimPrefix(secret, "Bearer "); strings.Contains(out.String(), hidden) {
			t.Errorf("%s is in the log:\n%s", secret, out.String())
		}
		if strings.Contains(out.String(), "correct horse") {
			t.Errorf("a password is in the log:\n%s", out.String())
		}
		if !strings.Contains(out.String(), "refused") || strings.Count(out.String(), "\n") != 5 {
			t.Errorf("the log lost what it should say:\n%s", out.String())
		}
	}
}

type valuer struct{ secret string }

func (v valuer) LogValue() slog.Value { return slog.StringValue(v.secret) }

func TestWhatIsNoSecretStaysInTheLog(t *testing.T) {
	for _, text := range []string{"usr_0190a1b2c3d4", "call_0190a1b2c3d4", "/api/v2/messages/conversation/{partner_id}",
		"in_progress", "re_try", "GET", "127.0.0.1:8080", "views are 12 behind", "message.sent", "too_many_requests"} {
		if got := mask(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := mask("pay pi_0123456789abcdef now"); got != "pay pi_…cdef now" {
		t.Errorf("a payment became %q", got)
	}
}

func TestALineOfTheLogIsOneLine(t *testing.T) {
	for _, text := range []string{"a\nb", "a\r\nb", "a\u2028b", "a\x1b[2Jb", "a\x00b", "a\u0085b"} {
		var out bytes.Buffer
		slog.New(Masked(slog.NewTextHandler(&out, nil))).Info(text, "a", text, text, "b")
		line, ended := strings.CutSuffix(out.String(), "\n")
		if !ended || strings.ContainsAny(line, "\n\r\x1b\x00\u2028\u0085") {
			t.Errorf("logged %q", out.String())
		}
	}
}

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

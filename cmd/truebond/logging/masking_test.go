package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func logged(t *testing.T, write func(*slog.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	write(New(&out, slog.LevelInfo, false))
	return out.String()
}

var secrets = map[string]string{ // and what may stay
	"ann.lee+x@example.co.in":                   "a…",
	"jörg@exämple.de":                           "j…",
	"ann%40example.com":                         "a…",
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln": "eyJ…",
	"tb_0123456789abcdef":                       "tb_…",
	"ses_0123456789abcdef.gSHtdrDdChu-Zgu_1":    "ses_0123456789abcdef.…",
	"whsec_0123456789abcdef":                    "whsec_…",
	"sk_test_0123456789abcdef":                  "sk_test_…",
	"sk_live_0123456789abcdef":                  "sk_live_…",
	"rk_live_0123456789abcdef":                  "rk_live_…",
	"pi_3MtwBwLkdIwHu7ix28a3tqPa":               "pi_3Mt…",
	"pi_sim0123456789abcdef":                    "pi_sim012…",
	"pi_3MtwBwLkdIwHu7_secret_YrKJUKribcBjcG8H": "pi_3Mt…",
	"cs_test_a1b2c3d4e5f6":                      "cs_test_a1b…",
	"ch_3MmlLrLkdIwHu7ix0snN0B15":               "ch_3Mm…",
	"mongodb://root:hunter22@db.example.com/x":  "mongodb://…db.example.com/x",
	"Bearer 0123456789abcdef":                   "Bearer …",
}

func TestSecretsAreMaskedWhereverTheyStand(t *testing.T) {
	for secret, stays := range secrets {
		places := map[string]func(*slog.Logger){
			"message":   func(l *slog.Logger) { l.Info("seen " + secret + ", twice: " + secret) },
			"attribute": func(l *slog.Logger) { l.Info("seen", "what", secret) },
			"error":     func(l *slog.Logger) { l.Info("seen", "err", fmt.Errorf("say: %w", errors.New(secret))) },
			"group":     func(l *slog.Logger) { l.Info("seen", slog.Group("g", slog.Group("h", "what", secret))) },
			"with":      func(l *slog.Logger) { l.With("what", secret).WithGroup("g").Info("seen", "n", 1) },
			"struct":    func(l *slog.Logger) { l.Info("seen", "what", struct{ Text string }{secret}) },
			"list":      func(l *slog.Logger) { l.Info("seen", "what", []string{"x", secret}) },
			"bytes":     func(l *slog.Logger) { l.Info("seen", "what", []byte(secret)) },
			"deferred":  func(l *slog.Logger) { l.Info("seen", "what", deferred(secret)) },
		}
		for place, write := range places {
			line := logged(t, write)
			end := secret[len(secret)-6:]
			if strings.Contains(line, secret) || strings.Contains(line, end) && !strings.HasSuffix(stays, end) {
				t.Errorf("%s in %s: %s", secret, place, line)
			}
			if !strings.Contains(line, stays) {
				t.Errorf("%s in %s: %q is gone too: %s", secret, place, stays, line)
			}
		}
	}
}

type deferred string

func (d deferred) LogValue() slog.Value { return slog.StringValue(string(d)) }

func TestSecretsAreKnownByTheirNameToo(t *testing.T) {
	for name := range secretNames {
		line := logged(t, func(l *slog.Logger) { l.Info("seen", strings.ToUpper(name), "plain words") })
		if strings.Contains(line, "plain") {
			t.Errorf("%s: %s", name, line)
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	for _, plain := range []string{
		"usr_01J9ZK3V4W5X6Y7Z", "message.sent", "/api/v2/messages/send", "insufficient_credits",
		"call_01J9ZK3V4W5X6Y7Z", "stripe/evt_1MmlLrLkdIwHu7ix", "req-1 at 10:00 @ node", "in_flight_requests",
	} {
		line := logged(t, func(l *slog.Logger) { l.Info(plain, "what", plain) })
		if strings.Count(line, plain) != 2 {
			t.Errorf("%q became %s", plain, line)
		}
	}
}

func TestAMessageCannotLookLikeTwo(t *testing.T) {
	line := logged(t, func(l *slog.Logger) { l.Info("one\n{\"level\":\"INFO\"}", "what", "a\nb") })
	if strings.Count(line, "\n") != 1 {
		t.Errorf("it became %q", line)
	}
	var parsed map[string]any
	if err := json.Unmarshal([]byte(line), &parsed); err != nil {
		t.Error(err)
	}
}

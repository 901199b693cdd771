package http

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Masked keeps out of a log what is not for those who read logs: tokens, keys, e-mail
// addresses, the ids of payments, and line breaks that would forge a line. Every logger
// of the program goes through it.
func Masked(next slog.Handler) slog.Handler { return masking{next: next} }

type masking struct{ next slog.Handler }

func (m masking) Enabled(ctx context.Context, level slog.Level) bool {
	return m.next.Enabled(ctx, level)
}

func (m masking) Handle(ctx context.Context, r slog.Record) error {
	masked := slog.NewRecord(r.Time, r.Level, mask(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		masked.AddAttrs(maskAttr(a))
		return true
	})
	return m.next.Handle(ctx, masked)
}

func (m masking) WithAttrs(attrs []slog.Attr) slog.Handler {
	masked := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		masked[i] = maskAttr(a)
	}
	return masking{next: m.next.WithAttrs(masked)}
}

func (m masking) WithGroup(name string) slog.Handler {
	return masking{next: m.next.WithGroup(mask(name))}
}

var secretNames = []string{"password", "token", "access_token", "refresh_token", "secret", "client_secret",
	"authorization", "cookie", "totp", "otp", "code_sent", "api_key_shown", "email"}

func maskAttr(a slog.Attr) slog.Attr {
	if slices.Contains(secretNames, strings.ToLower(a.Key)) {
		return slog.String(a.Key, "[masked]")
	}
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		value = slog.StringValue(mask(value.String()))
	case slog.KindAny:
		value = slog.StringValue(mask(fmt.Sprintf("%+v", value.Any())))
	case slog.KindGroup:
		group := make([]slog.Attr, len(value.Group()))
		for i, inner := range value.Group() {
			group[i] = maskAttr(inner)
		}
		value = slog.GroupValue(group...)
	default: // Numbers, times and truth values hide nothing.
	}
	return slog.Attr{Key: mask(a.Key), Value: value}
}

var (
	secrets = regexp.MustCompile(`(?i)\bbearer\s+[^\s"']+` +
		`|\beyJ[\w-]+\.[\w-]+\.?[\w-]*` + // a JWT
		`|\b(?:tb|rt|sk|rk|pk|whsec)_[\w-]{6,}` + // API keys, refresh tokens, Stripe's secrets
		`|\b\w+_secret_\w+`) // a payment's client secret
	mails    = regexp.MustCompile(`(?i)[\p{L}\p{N}._%+'-]+(?:@|%40)[\p{L}\p{N}.-]+`)
	payments = regexp.MustCompile(`\b(?:(?:pi|ch|py|pm|dp|du|cus|card|txn|seti)_\w{6,}` +
		`|(?:in|re|src|sub|cs)_\w{14,})`) // words of English come no longer than that
)

// mask hides the secrets in a text. A payment's id keeps its kind and its last four
// characters, so that it can still be found by who has it.
func mask(text string) string {
	if strings.ContainsFunc(text, breaksLine) {
		text = strings.Map(func(c rune) rune {
			if breaksLine(c) {
				return ' '
			}
			return c
		}, text)
	}
	// Most texts hide nothing, and a look is a tenth of what an expression takes.
	if strings.ContainsRune(text, '@') || strings.Contains(text, "%40") {
		text = mails.ReplaceAllString(text, "[email]")
	}
	if !mayHoldKey(text) {
		return text
	}
	text = secrets.ReplaceAllString(text, "[token]")
	return payments.ReplaceAllStringFunc(text, func(id string) string {
		kind, rest, _ := strings.Cut(id, "_")
		return kind + "_…" + rest[max(0, len(rest)-4):]
	})
}

var keyPrefixes = []string{"tb", "rt", "sk", "rk", "pk", "whsec", "secret", "pi", "ch", "py", "pm", "dp", "du", "cus",
	"card", "txn", "seti", "in", "re", "src", "sub", "cs"}

// mayHoldKey tells whether a text has anything with which a token, a key or a payment's
// id begins. It may be wrong in saying yes.
func mayHoldKey(text string) bool {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '_':
			for _, prefix := range keyPrefixes {
				if start := i - len(prefix); start >= 0 && strings.EqualFold(text[start:i], prefix) {
					return true
				}
			}
		case 'e':
			if strings.HasPrefix(text[i:], "eyJ") {
				return true
			}
		case 'b', 'B':
			if len(text)-i > 6 && strings.EqualFold(text[i:i+6], "bearer") {
				return true
			}
		}
	}
	return false
}

// breaksLine tells whether a character could end a line or move a terminal's cursor.
func breaksLine(c rune) bool {
	return unicode.IsControl(c) || c == '\u2028' || c == '\u2029'
}

package logging

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"truebond/cmd/truebond/wording"
)

// masked puts a handler behind one that takes out of every record what a log must not
// hold: tokens, e-mail addresses, payment ids, passwords. A short prefix stays, so that
// two lines about one thing can be told to belong together.
func masked(next slog.Handler) slog.Handler { return maskingHandler{next} }

type maskingHandler struct{ next slog.Handler }

func (h maskingHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h maskingHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, wording.OneLine(mask(r.Message)), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(maskAttr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h maskingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return maskingHandler{h.next.WithAttrs(maskAttrs(attrs))}
}

func (h maskingHandler) WithGroup(name string) slog.Handler {
	return maskingHandler{h.next.WithGroup(name)}
}

func maskAttrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = maskAttr(a)
	}
	return clean
}

// maskAttr masks an attribute of any kind. Numbers, times and truths hold no secret.
func maskAttr(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	if secretNames[strings.ToLower(a.Key)] && value.Kind() != slog.KindGroup {
		return slog.String(a.Key, cut)
	}
	switch value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, mask(value.String()))
	case slog.KindGroup:
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(maskAttrs(value.Group())...)}
	case slog.KindAny:
		return slog.String(a.Key, mask(text(value.Any())))
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime,
		slog.KindUint64, slog.KindLogValuer:
	}
	return slog.Attr{Key: a.Key, Value: value}
}

// text is what a log would show of a value that is not a plain one.
func text(value any) string {
	switch v := value.(type) {
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	case []byte:
		return string(v)
	}
	if encoded, err := json.Marshal(value); err == nil {
		return string(encoded)
	}
	return fmt.Sprintf("%+v", value)
}

// cut stands where something was taken out.
const cut = "…"

// secretNames are attributes whose value is a secret, whatever it looks like.
var secretNames = map[string]bool{
	"password": true, "token": true, "access_token": true, "refresh_token": true, "secret": true,
	"client_secret": true, "email": true, "authorization": true, "cookie": true, "set-cookie": true, "api_key": true,
	"otp": true, "totp": true, "code_sent": true, "stripe-signature": true, "jwt_secret": true,
}

// A secretShape is what a kind of secret looks like. The first group of its form stays. Its
// form is only looked for where one of its parts is, which takes far less time: there are
// several, and a request's line has eight texts.
type secretShape struct {
	parts []string
	form  *regexp.Regexp
}

// secretShapes are what secrets look like wherever they stand.
var secretShapes = []secretShape{
	// A password in a URL. It stands first, since it may look like an e-mail address.
	{[]string{"@"}, regexp.MustCompile(`(://)[^/\s@]+@`)},
	// An e-mail address, in a URL's query too.
	{[]string{"@", "%40"}, regexp.MustCompile(
		`([\p{L}\p{N}])[\p{L}\p{N}._+\-']*(?:@|%40)[\p{L}\p{N}.\-]+\.\p{L}{2,}`)},
	// A JWT, or the beginning of one.
	{[]string{"eyJ"}, regexp.MustCompile(`\b(eyJ)[A-Za-z0-9_\-.]{4,}`)},
	// A refresh token: what stands behind its session.
	{[]string{"ses_"}, regexp.MustCompile(`\b(ses_[0-9A-Za-z]+\.)[A-Za-z0-9_\-]{4,}`)},
	// What follows a scheme of authorization.
	{[]string{" "}, regexp.MustCompile(`(?i)\b(bearer |basic )[A-Za-z0-9._~+/=\-]+`)},
	// Keys: ours, and Stripe's secret, restricted and webhook keys.
	{[]string{"tb", "whsec_", "sk_", "rk_"}, regexp.MustCompile(
		`\b(tb[a-z]?_|whsec_|(?:sk|rk)_(?:test_|live_)?)[A-Za-z0-9_\-]{4,}`)},
	// Ids of Stripe's that stand for a payment, a card or a customer.
	{[]string{"pi_", "cs_", "ch_", "py_", "pm_", "seti_", "cus_", "src_", "txn_", "dp_", "pyr_"}, regexp.MustCompile(
		`\b((?:pi|cs|ch|py|pm|seti|cus|src|txn|dp|pyr)_(?:test_|live_)?(?:sim)?[A-Za-z0-9]{3})` +
			`[A-Za-z0-9]{3,}(?:_secret_[A-Za-z0-9]+)?`)},
}

func mask(s string) string {
	for _, shape := range secretShapes {
		if slices.ContainsFunc(shape.parts, func(part string) bool { return strings.Contains(s, part) }) {
			s = shape.form.ReplaceAllString(s, "${1}"+cut)
		}
	}
	return s
}

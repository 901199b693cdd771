package ledger

import (
	"context"

	"truebond/events"
)

// A Caller is who asks, as the guard has made sure of it, and what came along with
// the request.
type Caller struct {
	Actor          events.Actor
	Session        string   // of a user
	Roles          []string // of a user: user, admin, finance
	Scopes         []string // of an app
	Address        string   // the caller's, as far as known proxies vouch for it
	RequestID      string
	IdempotencyKey string // as sent; empty if none
	Request        []byte // HMAC of the route and the body; nil where no two requests are alike
	OlderRequest   []byte // as earlier programs wrote it into logs; nil: the same
}

type callerKey struct{}

// WithCaller puts who asks into a context.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is who asks; nobody if the context does not say.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

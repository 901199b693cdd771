package http

import (
	"context"
	"errors"
	nethttp "net/http"
	"strings"
	"time"

	"truebond/commands"
	"truebond/events"
	"truebond/ledger"
)

const (
	headerAPIKey         = "X-API-Key" //nolint:gosec // The name of a header and no key.
	headerIdempotencyKey = "Idempotency-Key"

	tokenYoung = 1 * time.Minute // a session this new may not have reached the views
)

var errForbidden = ledger.Refuse("forbidden", "You may not do this.")

// Sessions tell whether a session lives, and what its user may do now.
type Sessions interface {
	Session(ctx context.Context, id string) (user string, roles []string, live bool, err error)
}

// APIKeys tell whose a key is, by its hash.
type APIKeys interface {
	HashAPIKey(key string) string
	APIKey(ctx context.Context, hash string) (id string, scopes []string, ok bool, err error)
}

// admit makes sure of who asks and whether they may, and how often. The caller that it
// gives is complete but for the hash of the request.
func (s *Server) admit(ctx context.Context, w nethttp.ResponseWriter, req *nethttp.Request, r *Route,
) (ledger.Caller, error) {
	caller := ledger.Caller{
		Address:   s.addressOf(req),
		RequestID: w.Header().Get(headerRequestID),
	}
	onSocket := isOperatorConn(ctx)
	var unknown error
	switch {
	case r.operators && onSocket:
		caller.Actor = events.Actor{Kind: events.ActorOperator}
	case !r.open:
		unknown = s.identify(ctx, req, &caller)
	}
	// Whoever cannot say who they are uses up their address's limit all the same.
	limited := s.limits.allow(ctx, w.Header(), r, caller)
	switch {
	case unknown != nil && !isTooMany(limited):
		return caller, unknown
	case limited != nil:
		return caller, limited
	case !r.admits(caller.Roles, caller.Scopes, onSocket):
		return caller, errForbidden
	}
	if !r.command() {
		return caller, nil
	}
	key, err := idempotencyKey(req, r)
	caller.IdempotencyKey = key
	return caller, err
}

// identify takes the one credential that a request has.
func (s *Server) identify(ctx context.Context, req *nethttp.Request, caller *ledger.Caller) error {
	bearer, keys := req.Header.Values("Authorization"), req.Header.Values(headerAPIKey)
	if len(bearer)+len(keys) == 0 {
		return ledger.Refuse("unauthorized", "This needs an access token or an API key.")
	}
	if len(bearer)+len(keys) > 1 {
		return ledger.Refuse("unauthorized", "This needs one access token or API key, and not several.")
	}
	if len(keys) == 1 {
		return s.identifyApp(ctx, keys[0], caller)
	}
	scheme, credential, _ := strings.Cut(bearer[0], " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return ledger.Refuse("unauthorized", "The Authorization header must be of the scheme Bearer.")
	case strings.HasPrefix(credential, commands.APIKeyPrefix):
		return s.identifyApp(ctx, credential, caller)
	}
	return s.identifyUser(ctx, credential, caller)
}

// identifyApp believes a key unless it was revoked, however far behind the views are. It does not wait
// for what was done with the key: that stands under the key's id.
func (s *Server) identifyApp(ctx context.Context, key string, caller *ledger.Caller) error {
	if !strings.HasPrefix(key, commands.APIKeyPrefix) || len(key) > commands.APIKeyMax {
		return ledger.Refuse("invalid_token", "The API key is not valid.")
	}
	hash := s.cfg.APIKeys.HashAPIKey(key)
	revoked, err := s.cfg.Positions.Of(ctx, commands.BearerOf(hash).String())
	if err != nil {
		return err
	}
	if err := s.awaitViews(ctx, revoked); err != nil {
		return err
	}
	id, scopes, ok, err := s.cfg.APIKeys.APIKey(ctx, hash)
	if err != nil {
		return err
	}
	if !ok {
		return ledger.Refuse("invalid_token", "The API key is not valid.")
	}
	caller.Actor, caller.Scopes = events.Actor{Kind: events.ActorApp, ID: id}, scopes
	return nil
}

// identifyUser believes a token only if its session lives, as of the user's own last
// command: logging out ends a token at once. What a user may do is the session's to
// say; a role that was taken away does not live on in a token.
func (s *Server) identifyUser(ctx context.Context, bearer string, caller *ledger.Caller) error {
	claims, err := s.cfg.Tokens.Verify(bearer)
	if err != nil {
		return ledger.Refuse("invalid_token", "The access token is not valid, or no longer.")
	}
	actor := events.Actor{Kind: events.ActorUser, ID: claims.User}
	own, err := s.cfg.Positions.Of(ctx, actor.String())
	if err != nil {
		return err
	}
	if err := s.awaitViews(ctx, own); err != nil {
		return err
	}
	owner, roles, live, err := s.cfg.Sessions.Session(ctx, claims.Session)
	if err == nil && !live && time.Since(claims.IssuedAt) < tokenYoung {
		if err := s.awaitNewest(ctx); err != nil {
			return err
		}
		owner, roles, live, err = s.cfg.Sessions.Session(ctx, claims.Session)
	}
	if err != nil {
		return err
	}
	if !live || owner != claims.User {
		return ledger.Refuse("invalid_token", "The session has ended. Log in again.")
	}
	caller.Actor, caller.Session, caller.Roles = actor, claims.Session, roles
	return nil
}

// whileAdmitted is a context that ends, with the reason, when who came with a token or a key may not
// go on: that has ended, or a role was taken away.
func (s *Server) whileAdmitted(ctx context.Context, req *nethttp.Request, r *Route) (
	context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if r.open || r.operators && isOperatorConn(ctx) {
		return ctx, func() { cancel(nil) }
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(s.cfg.AdmitEvery):
			}
			if err := s.stillAdmits(ctx, req, r); err != nil {
				cancel(err)
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// stillAdmits tells why whoever was let in may not stay; nil if they may. A store that does not answer
// says nothing about that.
func (s *Server) stillAdmits(ctx context.Context, req *nethttp.Request, r *Route) error {
	var caller ledger.Caller
	err := s.identify(ctx, req, &caller)
	switch {
	case errors.Is(err, ledger.ErrUnavailable):
		return nil
	case err == nil && !r.admits(caller.Roles, caller.Scopes, false):
		return errForbidden
	}
	return err
}

// idempotencyKey is the key that a command came with; empty if it has none and needs none.
func idempotencyKey(req *nethttp.Request, r *Route) (string, error) {
	sent := req.Header.Values(headerIdempotencyKey)
	if len(sent) == 0 && !r.once {
		return "", nil
	}
	at := fieldError{Pointer: "#/" + headerIdempotencyKey, In: "header", Detail: "is missing"}
	if len(sent) == 0 {
		return "", newProblem("idempotency_key_required",
			"Send an Idempotency-Key of your own making, and the same one when you try again.", at)
	}
	at.Detail = commands.IdempotencyKeyRule
	if len(sent) > 1 || !commands.IsIdempotencyKey(sent[0]) {
		return "", newProblem("idempotency_key_invalid", "The Idempotency-Key is not one.", at)
	}
	return sent[0], nil
}

type operatorConn struct{}

// isOperatorConn tells whether a request came over the operator's socket.
func isOperatorConn(ctx context.Context) bool { return ctx.Value(operatorConn{}) != nil }

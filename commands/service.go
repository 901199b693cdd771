// Package commands takes what people ask for, a file a feature, and makes commands of it. Package
// writer below it decides them, by the rules in ledger.
package commands

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// A Service is all that can be asked of the ledger: a method a command, each in its
// feature's file. It is what routes, timers and the watch over calls call.
type Service struct {
	Parts
	passwords *passwords
	logins    *turns // of those who log in, by who tries from where
}

// Parts are what a Service is put together from.
type Parts struct {
	Writer    writer.Decider
	Vault     Vault
	Payments  Payments
	Simulator Simulator // nil when payments are real
	Tokens    Tokens
	Attempts  Attempts
	Presence  Presence
	Clock     *Clock
	// HashRequest is a keyed hash of what is asked: its route, and its body in the one way
	// in which http writes it.
	HashRequest func(route string, body []byte) []byte
	// VerifyWebhook says what a webhook announces, if it is Stripe's.
	VerifyWebhook func(body []byte, signature string) (ledger.Announcement, error)
	// Wait returns once the views are at a position.
	Wait func(ctx context.Context, position uint64) error
	// APIKeyHash is the hash of the API key with an id; empty if the views have none.
	APIKeyHash func(ctx context.Context, id string) (string, error)
	// SessionOver tells whether the views show that a session is over.
	SessionOver func(ctx context.Context, id string) (bool, error)
	Logger      *slog.Logger
}

// NewService puts a Service together.
func NewService(p Parts) *Service {
	return &Service{Parts: p, passwords: newPasswords(), logins: newTurns()}
}

// A Vault seals personal text and hashes what is looked up. See commands/vault.
type Vault interface {
	// MakeKey makes the key of somebody who is new here. Without one, Seal refuses.
	MakeKey(ctx context.Context, owner string) error
	Seal(ctx context.Context, owner, eventKey, field, text string) (events.Sealed, error)
	Open(ctx context.Context, s events.Sealed) (string, error)
	Hash(purpose, text string) string
	Erase(ctx context.Context, owner string) error
}

const (
	userPrefix = "usr_"
	idMax      = 64 // bytes of an id in a request; ours have some 40
)

// newID is a sortable id that says what it names: `usr_`, `msg_`, `call_`.
func newID(kind string) string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // the system has no random numbers
	}
	return kind + "_" + strings.ReplaceAll(id.String(), "-", "")
}

// What an idempotency key must be like.
const (
	IdempotencyKeyMax  = 128 // characters
	IdempotencyKeyRule = "must have 1 to 128 visible ASCII characters"
)

// IsIdempotencyKey tells whether a text can be one.
func IsIdempotencyKey(text string) bool {
	invisible := func(c rune) bool { return c <= ' ' || c > '~' }
	return text != "" && len(text) <= IdempotencyKeyMax && !strings.ContainsFunc(text, invisible)
}

// once is the key of what the caller asks for: their idempotency key, or one of its own
// for a caller who sent none. Request is nil for the latter, since no two are alike.
func once(ctx context.Context) (key string, request []byte) {
	caller := ledger.CallerOf(ctx)
	if caller.IdempotencyKey == "" {
		return keyOf(caller.Actor, newID("key")), nil
	}
	return keyOf(caller.Actor, caller.IdempotencyKey), caller.Request
}

// keyOf is the key of what somebody asks for under an idempotency key.
func keyOf(actor events.Actor, idempotencyKey string) string {
	return "api/" + actor.String() + "/" + idempotencyKey
}

// ask has a command of the caller's decided, once for its key.
func (s *Service) ask(ctx context.Context, key string, request []byte, decide ledger.Decision) (writer.Done, error) {
	caller := ledger.CallerOf(ctx)
	return s.Writer.Do(ctx, writer.Command{
		Key: key, Actor: caller.Actor, Request: request, Older: caller.OlderRequest, Decide: decide,
	})
}

// isNothingToDo tells a refusal that says that all is as wished already.
func isNothingToDo(err error) bool {
	return errors.Is(err, &ledger.Refusal{Code: ledger.CodeNothingToDo})
}

// showMax is how long an answer waits for the views, which take milliseconds as a rule.
const showMax = 3 * time.Second

// show waits until the views are at a position: whoever gets the answer may come in with
// something that only the views know. If they do not in time, the answer goes out.
func (s *Service) show(ctx context.Context, position uint64) {
	if err := s.await(ctx, position); err != nil {
		s.Logger.WarnContext(ctx, "the views are behind an answer", "position", position, "error", err)
	}
}

// await waits likewise, and tells whether that was in vain.
func (s *Service) await(ctx context.Context, position uint64) error {
	ctx, cancel := context.WithTimeout(ctx, showMax)
	defer cancel()
	return s.Wait(ctx, position)
}

// look shows the documents as they are now.
func (s *Service) look(ctx context.Context, look func(*ledger.Tx)) error {
	return s.Writer.Look(ctx, func(tx *ledger.Tx) error {
		look(tx)
		return nil
	})
}

// seals seals several texts of one owner for one event.
type seals struct {
	ctx   context.Context
	vault Vault
	owner string
	key   string
	err   error
}

// seal seals a text for a field; after a failure it does nothing.
func (s *seals) seal(field, text string) events.Sealed {
	if s.err != nil {
		return events.Sealed{}
	}
	sealed, err := s.vault.Seal(s.ctx, s.owner, s.key, field, text)
	s.err = err
	return sealed
}

// sealingFirst seals the first texts of somebody who is new here. Who is known already has a key, and never
// gets another one: what the first has sealed could not be read any more.
func (s *Service) sealingFirst(ctx context.Context, owner, key string) *seals {
	return &seals{ctx: ctx, vault: s.Vault, owner: owner, key: key, err: s.Vault.MakeKey(ctx, owner)}
}

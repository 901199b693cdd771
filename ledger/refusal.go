package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// A Refusal is a rule that says no. It is the one error type that a caller sees; http
// alone turns its code into a status.
type Refusal struct {
	Code   string         // for programs: `insufficient_credits`
	Detail string         // for people: one sentence
	Field  string         // the field of the request that is at fault, as a JSON pointer's last part; empty if none
	Facts  map[string]any // further members of the answer: available, required
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// Is makes refusals equal by their code, so that errors.Is works with a bare one.
func (r *Refusal) Is(target error) bool {
	var other *Refusal
	return errors.As(target, &other) && other.Code == r.Code
}

// Refuse says no, for a reason.
func Refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// About names the field of the request that is at fault.
func (r *Refusal) About(field string) *Refusal {
	after := *r
	after.Field = field
	return &after
}

// With adds a fact for the caller's program.
func (r *Refusal) With(name string, value any) *Refusal {
	after := *r
	after.Facts = map[string]any{name: value}
	maps.Copy(after.Facts, r.Facts)
	return &after
}

// ErrUnavailable says that the log, the views or the vault do not answer, or not as they should.
var ErrUnavailable = Refuse(CodeStoreUnavailable,
	"What this needs cannot be read or kept just now. Try again in a moment.")

// Unavailable is a store's error for whoever asked for what needs it: with ErrUnavailable, or
// with why they do not wait for the answer any more.
func Unavailable(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// ErrNotFound says that there is no such thing, or that it is somebody else's.
var ErrNotFound = notFound("thing")

// notFound is ErrNotFound for who knows what is looked for.
func notFound(noun string) error { return Refuse(CodeNotFound, "There is no such %s.", noun) }

// notDue says that a timer came too early.
func notDue() error { return Refuse(CodeNotDue, "It is too early for this.") }

package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// Presence remembers who was heard of last in a call. See commands/redis.
type Presence interface {
	Seen(ctx context.Context, call string, at time.Time, users ...string) error
	LastSeen(ctx context.Context, call, user string) (time.Time, error)
}

// InitiateCall asks to ring somebody.
type InitiateCall struct {
	To   string          `json:"to"`
	Kind events.CallKind `json:"kind"`
}

func (in InitiateCall) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.To, validation.Required, validation.Length(1, idMax)),
		validation.Field(&in.Kind, validation.Required, oneOf(events.AudioCall, events.VideoCall)),
	)
}

// CallID names a call.
type CallID struct {
	CallID string `json:"call_id"`
}

func (in CallID) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.CallID, validation.Required, validation.Length(1, idMax)))
}

// Call is a call as its parties see it.
type Call struct {
	ID             string               `json:"id"`
	Kind           events.CallKind      `json:"kind"`
	State          ledger.CallState     `json:"state"`
	From           string               `json:"from"`
	To             string               `json:"to"`
	PricePerMinute int64                `json:"price_per_minute"`
	Charged        int64                `json:"charged"` // credits so far
	Seconds        int64                `json:"seconds"` // from accept to the end; 0 before it
	EndedBy        string               `json:"ended_by,omitempty"`
	EndReason      events.CallEndReason `json:"end_reason,omitempty"`
}

// CallAnswer is a call as it is after a command.
type CallAnswer struct {
	Receipt
	Call Call `json:"call"`
}

// InitiateCall rings somebody, whether or not they have a socket.
func (s *Service) InitiateCall(ctx context.Context, in InitiateCall) (CallAnswer, error) {
	key, request := once(ctx)
	call := newID("call")
	done, after, err := s.askCall(ctx, call, key, request, ledger.InitiateCall(ledger.NewCall{
		Call: call, Kind: in.Kind, From: ledger.CallerOf(ctx).Actor.ID, To: in.To,
	}))
	if err != nil {
		return CallAnswer{}, err
	}
	if done.Replayed {
		return s.callAnswer(ctx, done, done.Event.Data.(events.CallInitiated).Call)
	}
	return CallAnswer{Receipt: receipt(done), Call: callView(after)}, nil
}

// AcceptCall starts a call and charges its first minute. It refuses while the views stand still
// (`views_behind`): minutes are charged by what they show, and nobody whose accept they do not show could
// hang up.
func (s *Service) AcceptCall(ctx context.Context, in CallID) (CallAnswer, error) {
	if err := s.await(ctx, s.Writer.Last()); err != nil {
		return CallAnswer{}, fmt.Errorf("%w: %w", ledger.Refuse("views_behind", "The call cannot begin before the views "+
			"show what happened until now. It rings on; ask again."), err)
	}
	return s.actOnCall(ctx, in.CallID, "accept", func(user string) ledger.Decision {
		return ledger.AcceptCall(in.CallID, user)
	})
}

// RejectCall turns a ringing call down.
func (s *Service) RejectCall(ctx context.Context, in CallID) (CallAnswer, error) {
	return s.actOnCall(ctx, in.CallID, "reject", func(user string) ledger.Decision {
		return ledger.RejectCall(in.CallID, user)
	})
}

// EndCall hangs up.
func (s *Service) EndCall(ctx context.Context, in CallID) (CallAnswer, error) {
	return s.actOnCall(ctx, in.CallID, "end", func(user string) ledger.Decision {
		return ledger.EndCall(in.CallID, user)
	})
}

// actOnCall has a party do something to a call, once: the key says who did what.
func (s *Service) actOnCall(ctx context.Context, call, verb string, decide func(user string) ledger.Decision) (
	CallAnswer, error) {
	user := ledger.CallerOf(ctx).Actor.ID
	done, after, err := s.askCall(ctx, call, "call/"+call+"/"+verb+"/"+user, nil, decide(user))
	if isNothingToDo(err) {
		return s.callAnswer(ctx, writer.Done{}, call)
	}
	if err != nil {
		return CallAnswer{}, err
	}
	if done.Replayed {
		return s.callAnswer(ctx, done, call)
	}
	if d, accepted := done.Event.Data.(events.CallAccepted); accepted {
		// Both are there for certain. Asking again is no sign of life of the other.
		if err := s.Presence.Seen(ctx, call, time.Now(), d.From, d.To); err != nil {
			s.Logger.WarnContext(ctx, "a sign of life was not noted", "error", err)
		}
	}
	return CallAnswer{Receipt: receipt(done), Call: callView(after)}, nil
}

// askCall asks for something to be done to a call, and gives the call after it unless that is a
// replay. Nothing is asked for afterwards: a refusal then would be taken for one of what was done.
func (s *Service) askCall(ctx context.Context, call, key string, request []byte, decide ledger.Decision) (
	done writer.Done, after ledger.Call, err error) {
	var before ledger.Call
	done, err = s.ask(ctx, key, request, func(tx *ledger.Tx) (events.Payload, []events.Move, error) {
		before = ledger.Load(tx, ledger.Calls, call)
		return decide(tx)
	})
	if err == nil && !done.Replayed {
		after, _ = ledger.Calls.Evolve(before, call, done.Event)
	}
	return done, after, err
}

// Heartbeat notes that a party of a call is still there.
func (s *Service) Heartbeat(ctx context.Context, in CallID) (CallAnswer, error) {
	user := ledger.CallerOf(ctx).Actor.ID
	call, err := s.callNow(ctx, in.CallID)
	if err != nil {
		return CallAnswer{}, err
	}
	if user != call.From && user != call.To {
		return CallAnswer{}, ledger.ErrNotFound
	}
	if call.State == ledger.CallActive {
		if err := s.Presence.Seen(ctx, in.CallID, time.Now(), user); err != nil {
			return CallAnswer{}, ledger.Unavailable(ctx, err)
		}
	}
	return CallAnswer{Call: callView(call)}, nil
}

func (s *Service) callAnswer(ctx context.Context, done writer.Done, id string) (CallAnswer, error) {
	call, err := s.callNow(ctx, id)
	return CallAnswer{Receipt: s.receiptOrEnd(done), Call: callView(call)}, err
}

func (s *Service) callNow(ctx context.Context, id string) (call ledger.Call, err error) {
	err = s.look(ctx, func(tx *ledger.Tx) { call = ledger.Load(tx, ledger.Calls, id) })
	return call, err
}

func callView(c ledger.Call) Call {
	return Call{
		ID: c.ID, Kind: c.Kind, State: c.State, From: c.From, To: c.To, PricePerMinute: c.PricePerMinute,
		Charged: c.Charged, Seconds: c.Seconds, EndedBy: c.EndedBy, EndReason: c.EndReason,
	}
}

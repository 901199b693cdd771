package ledger

import (
	"errors"

	"truebond/events"
)

// NewCall is a call to be made.
type NewCall struct {
	Call     string // its id
	From, To string
	Kind     events.CallKind
}

// InitiateCall rings another user for 45 seconds. It costs nothing yet. It refuses a kind
// that there is not and oneself (`invalid_request`), who is not there (`unknown_user`),
// when either has blocked the other (`blocked`) or is in a call (`busy`), and who cannot
// pay the first minute (`insufficient_credits`).
func InitiateCall(n NewCall) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if n.Kind != events.AudioCall && n.Kind != events.VideoCall {
			return nil, nil, Refuse(CodeInvalidRequest, "A call is audio or video.").About("kind")
		}
		if err := checkReach(tx, n.From, n.To); err != nil {
			return nil, nil, err
		}
		prices, err := loadPrices(tx)
		if err != nil {
			return nil, nil, err
		}
		if Load(tx, Lines, n.From).Call != "" {
			return nil, nil, Refuse(CodeBusy, "You are in a call already.")
		}
		if Load(tx, Lines, n.To).Call != "" {
			return nil, nil, Refuse(CodeBusy, "This user is in another call.")
		}
		price := perMinute(prices, n.Kind)
		if _, err := Load(tx, Accounts, n.From).Spend(price, UseCalls, tx.Now); err != nil {
			return nil, nil, err
		}
		return events.CallInitiated{
			Call: n.Call, Kind: n.Kind, From: n.From, To: n.To, PricePerMinute: price,
			RingsUntil: tx.Now.Add(ringMax),
		}, nil, nil
	}
}

// AcceptCall starts a ringing call, fixes today's price, and charges its first minute. A
// caller who cannot pay any more makes it CallEnded with out_of_credits. Only the callee
// may (`not_yours` for the caller, `not_found` for others). It refuses a caller who was
// erased since (`unknown_user`), when either has blocked the other (`blocked`), a call that
// is over or has rung long enough (`call_over`), and one that is active already
// (`nothing_to_do`).
func AcceptCall(call, by string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		c, err := loadRinging(tx, call, by)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case c.State == CallActive:
			return nil, nil, Refuse(CodeNothingToDo, "The call is active already.")
		case !tx.Now.Before(c.RingsUntil):
			return nil, nil, callOver()
		}
		if err := checkUser(tx, c.From, ""); err != nil {
			return nil, nil, err
		}
		if err := checkNotBlocked(tx, c.From, c.To); err != nil {
			return nil, nil, err
		}
		prices, err := loadPrices(tx)
		if err != nil {
			return nil, nil, err
		}
		price := perMinute(prices, c.Kind)
		effect, err := Load(tx, Accounts, c.From).Spend(price, UseCalls, tx.Now)
		if cannotPay(err) {
			return c.ended(call, "", events.OutOfCredits, 0)
		}
		if err != nil {
			return nil, nil, err
		}
		return events.CallAccepted{
			Call: call, From: c.From, To: c.To, PricePerMinute: price, Charged: price, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// ChargeCall charges the caller for the minute that begins n minutes after the call was
// accepted. A caller who cannot pay makes it CallEnded with out_of_credits; a minute that
// began more than 15 seconds ago makes it CallEnded with server_away, without a charge:
// nobody knows whether the call went on. Either way the call has lasted until that minute.
// It refuses a call that is not active and a minute that was charged before (`call_over`:
// a timer that came twice), and one that has not begun (`not_due`).
func ChargeCall(call string, n int) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		c := Load(tx, Calls, call)
		switch {
		case c.State != CallActive || n < c.Intervals:
			return nil, nil, callOver()
		case n > c.Intervals || tx.Now.Before(c.due(n)):
			return nil, nil, notDue()
		case tx.Now.Sub(c.due(n)) > lateMax:
			return c.ended(call, "", events.ServerAway, c.secondsAt(c.due(n)))
		}
		effect, err := Load(tx, Accounts, c.From).Spend(c.PricePerMinute, UseCalls, tx.Now)
		if cannotPay(err) {
			return c.ended(call, "", events.OutOfCredits, c.secondsAt(c.due(n)))
		}
		if err != nil {
			return nil, nil, err
		}
		return events.CallCharged{
			Call: call, From: c.From, To: c.To, Interval: n, Charged: c.PricePerMinute, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// EndCall hangs up. While it still rings, the caller makes it a missed call by that, and
// the callee a rejected one. Others are refused (`not_found`). A call that is over is
// refused with `nothing_to_do`, since both may hang up at once.
func EndCall(call, by string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		c := Load(tx, Calls, call)
		switch {
		case !c.Has(by):
			return nil, nil, notFound("call")
		case c.Over():
			return nil, nil, Refuse(CodeNothingToDo, "The call is over already.")
		case c.State == CallRinging && by == c.From:
			return events.CallMissed{Call: call, From: c.From, To: c.To}, nil, nil
		case c.State == CallRinging:
			return events.CallRejected{Call: call, From: c.From, To: c.To}, nil, nil
		}
		return c.ended(call, by, events.HungUp, c.secondsAt(tx.Now))
	}
}

// RejectCall declines a ringing call. Only the callee may (`not_yours` for the caller,
// `not_found` for others). It refuses a call that is over (`call_over`) or active
// (`call_active`), and one that is rejected already (`nothing_to_do`).
func RejectCall(call, by string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if c := Load(tx, Calls, call); c.To == by && c.State == CallRejected {
			return nil, nil, Refuse(CodeNothingToDo, "The call is rejected already.")
		}
		c, err := loadRinging(tx, call, by)
		if err != nil {
			return nil, nil, err
		}
		if c.State == CallActive {
			return nil, nil, Refuse(CodeCallActive, "The call has been accepted; it can be ended.")
		}
		return events.CallRejected{Call: call, From: c.From, To: c.To}, nil, nil
	}
}

// MissCall ends the ringing of a call whose time to ring is over. It refuses one that
// does not ring (`call_over`: its timer may forget it) and one that may still (`not_due`).
func MissCall(call string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		c := Load(tx, Calls, call)
		switch {
		case c.State != CallRinging:
			return nil, nil, callOver()
		case tx.Now.Before(c.RingsUntil):
			return nil, nil, notDue()
		}
		return events.CallMissed{Call: call, From: c.From, To: c.To}, nil, nil
	}
}

// EndCallGone ends an active call because one of its users is gone; how long is for who
// watches them to judge. It refuses a call that is not active (`call_over`) and others
// (`not_found`).
func EndCallGone(call, gone string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		c := Load(tx, Calls, call)
		switch {
		case !c.Has(gone):
			return nil, nil, notFound("call")
		case c.State != CallActive:
			return nil, nil, callOver()
		}
		return c.ended(call, gone, events.PartyGone, c.secondsAt(tx.Now))
	}
}

// loadRinging is a call that its callee may answer. It may be active by now.
func loadRinging(tx *Tx, call, by string) (Call, error) {
	c := Load(tx, Calls, call)
	switch {
	case !c.Has(by):
		return c, notFound("call")
	case by == c.From:
		return c, Refuse(CodeNotYours, "Only who is called can answer.")
	case c.Over():
		return c, callOver()
	}
	return c, nil
}

func (c Call) ended(call, by string, why events.CallEndReason, seconds int64) (
	events.Payload, []events.Move, error) {
	return events.CallEnded{
		Call: call, From: c.From, To: c.To, By: by, Reason: why, Seconds: seconds, Charged: c.Charged,
	}, nil, nil
}

func callOver() error { return Refuse(CodeCallOver, "The call is over.") }

// cannotPay tells that a minute cannot be paid, whatever is done.
func cannotPay(err error) bool {
	return errors.Is(err, &Refusal{Code: CodeInsufficientCredits}) || errors.Is(err, &Refusal{Code: CodeTooManyLots})
}

package ledger

import (
	"time"

	"truebond/events"
)

// DeductMax bounds one charge, in credits: more is a slip of the finger.
const DeductMax = 1_000_000

// holdMax bounds how long credits may be set aside.
const holdMax = 30 * 24 * time.Hour

// DeductCredits charges a user for something of the app's. It refuses who is not there
// (`unknown_user`), credits or a reason out of range (`invalid_request`), and more than
// is available (`insufficient_credits`).
func DeductCredits(user string, credits int64, reason string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if credits < 1 || credits > DeductMax {
			return nil, nil, Refuse(CodeInvalidRequest, "The credits must be from 1 to %d.", DeductMax).
				About("credits")
		}
		if err := checkReason(reason); err != nil {
			return nil, nil, err
		}
		if err := checkUser(tx, user, "user_id"); err != nil {
			return nil, nil, err
		}
		effect, err := Load(tx, Accounts, user).Spend(credits, UseOther, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.CreditsDeducted{
			User: user, Credits: credits, Reason: reason, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// No route asks yet for what stands from here to UndoSpend, or for ForgiveDebt. Timers end holds and lots
// whose time is over.

// A NewHold is credits to be set aside until something is known to happen or not.
type NewHold struct {
	Hold      string // its id, of which a user has one at a time
	User      string
	Credits   int64
	Use       string // what they would be spent on
	ExpiresAt time.Time
}

// ReserveCredits sets credits aside. It refuses who is not there (`unknown_user`), credits out of
// range, an unknown use, and a time that is over or more than 30 days away (`invalid_request`), an id
// that another hold has (`hold_exists`), and more than is available (`insufficient_credits`).
func ReserveCredits(h NewHold) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if h.ExpiresAt.After(tx.Now.Add(holdMax)) {
			return nil, nil, Refuse(CodeInvalidRequest, "Credits are set aside for 30 days at most.").
				About("expires_at")
		}
		if err := checkUser(tx, h.User, "user_id"); err != nil {
			return nil, nil, err
		}
		effect, err := Load(tx, Accounts, h.User).Reserve(h.Hold, h.Credits, h.Use, h.ExpiresAt, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.CreditsReserved{
			User: h.User, Hold: h.Hold, Credits: h.Credits, Use: h.Use, ExpiresAt: h.ExpiresAt,
			Available: effect.Available,
		}, effect.Moves, nil
	}
}

// CaptureHold spends credits of a hold and gives the rest back; the hold ends. It
// refuses a hold that has ended (`hold_not_found`) or is over (`hold_expired`), and more
// than it has (`hold_too_small`).
func CaptureHold(user, hold string, credits int64) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		effect, err := Load(tx, Accounts, user).Capture(hold, credits, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.HoldCaptured{
			User: user, Hold: hold, Credits: credits, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// ReleaseHold gives a hold's credits back because somebody asked. It refuses a hold that
// has ended (`hold_not_found`).
func ReleaseHold(user, hold string) Decision { return releaseHold(user, hold, false) }

// ExpireHold gives a hold's credits back because its time is over. It refuses a hold that
// has ended (`hold_not_found`) and one whose time is not over (`not_due`).
func ExpireHold(user, hold string) Decision { return releaseHold(user, hold, true) }

func releaseHold(user, hold string, expired bool) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		account := Load(tx, Accounts, user)
		if h, found := account.Hold(hold); found && expired && tx.Now.Before(h.ExpiresAt) {
			return nil, nil, notDue()
		}
		effect, err := account.Release(hold, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.HoldReleased{
			User: user, Hold: hold, Expired: expired, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// UndoSpend gives what an event spent back to the lots that it came from. It refuses an
// event that spent nothing (`nothing_to_undo`) and a second time (`already_undone`).
func UndoSpend(spent events.Event, reason string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkReason(reason); err != nil {
			return nil, nil, err
		}
		user := spender(spent)
		if user == "" {
			return nil, nil, Refuse(CodeNothingToUndo, "This has spent no credits.")
		}
		effect, credits, err := Load(tx, Accounts, user).Undo(spent, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.SpendUndone{
			User: user, Undoes: spent.Position, Credits: credits, Reason: reason, Available: effect.Available,
			Lots: effect.Lots,
		}, effect.Moves, nil
	}
}

// spender is whose credits an event has spent; nobody if it spent none.
func spender(e events.Event) string {
	for _, m := range e.Moves {
		if _, spends := spentOn(m.To); spends {
			return m.From.User()
		}
	}
	return ""
}

// ExpireLot ends a lot whose time is over. It refuses one that has ended
// (`lot_not_found`) and one whose time is not over (`lot_not_expired`).
func ExpireLot(user, lot string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		effect, credits, err := Load(tx, Accounts, user).ExpireLot(lot, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.LotExpired{
			User: user, Lot: lot, Credits: credits, Available: effect.Available,
		}, effect.Moves, nil
	}
}

// ForgiveDebt lets a user off some of what a clawback left them owing. It refuses more
// than is owed (`no_such_debt`).
func ForgiveDebt(user string, credits int64, reason string) Decision {
	return func(tx *Tx) (events.Payload, []events.Move, error) {
		if err := checkReason(reason); err != nil {
			return nil, nil, err
		}
		effect, err := Load(tx, Accounts, user).Forgive(credits, tx.Now)
		if err != nil {
			return nil, nil, err
		}
		return events.DebtForgiven{
			User: user, Credits: credits, Reason: reason, Available: effect.Available,
		}, effect.Moves, nil
	}
}

package commands

import (
	"context"

	"github.com/invopop/validation"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// Deduct asks to charge a user; a server of the app's does, never a browser.
type Deduct struct {
	UserID  string `json:"user_id"`
	Credits int64  `json:"credits"`
	Reason  string `json:"reason"`
}

func (in Deduct) Validate() error {
	return broken(
		judged{"user_id", validation.Validate(in.UserID, deductUserRules...)},
		judged{"credits", validation.Validate(in.Credits, deductCreditsRules...)},
		judged{"reason", validation.Validate(in.Reason, deductReasonRules...)},
	)
}

// belowOne is said of 0 as of what is below it; a number that lacks is 0.
const belowOne = "must be no less than 1"

// The rules of a charge are made once: a bulk has a thousand of them.
var (
	deductUserRules    = []validation.Rule{validation.Required, validation.Length(1, idMax)}
	deductCreditsRules = []validation.Rule{validation.Required.Error(belowOne), validation.Min(int64(1)),
		validation.Max(int64(ledger.DeductMax))}
	deductReasonRules = []validation.Rule{validation.Required, validation.RuneLength(1, ledger.ReasonMax)}
)

// Deducted is a charge that was made.
type Deducted struct {
	Receipt
	PositionAgain uint64 `json:"position"` // the receipt's, in the body too
	Charged       int64  `json:"charged"`
	Available     int64  `json:"available"`
}

// Deduct charges a user.
func (s *Service) Deduct(ctx context.Context, in Deduct) (Deducted, error) {
	key, request := once(ctx)
	done, err := s.ask(ctx, key, request, ledger.DeductCredits(in.UserID, in.Credits, in.Reason))
	if err != nil {
		return Deducted{}, err
	}
	return deducted(done), nil
}

func deducted(done writer.Done) Deducted {
	d := done.Event.Data.(events.CreditsDeducted)
	return Deducted{
		Receipt: receipt(done), PositionAgain: done.Event.Position, Charged: d.Credits, Available: d.Available,
	}
}

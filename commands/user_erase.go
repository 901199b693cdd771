package commands

import (
	"context"

	"github.com/invopop/validation"

	"truebond/ledger"
)

// Erase asks to make a person's data unreadable.
type Erase struct {
	UserID string `json:"user_id"`
	Reason string `json:"reason"`
}

func (in Erase) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.UserID, validation.Required, validation.Length(1, idMax)),
		validation.Field(&in.Reason, validation.Required, validation.RuneLength(1, ledger.ReasonMax)),
	)
}

// Erased says that a person's data is unreadable from now on.
type Erased struct {
	Receipt
	UserID string `json:"user_id"`
	Erased bool   `json:"erased"`
}

// Erase makes a person's data unreadable everywhere: an event says so and clears their
// documents, then their key is destroyed. Asking again finishes what a crash left undone.
func (s *Service) Erase(ctx context.Context, in Erase) (Erased, error) {
	done, err := s.ask(ctx, "erase/"+in.UserID, nil, ledger.EraseUser(in.UserID, in.Reason))
	if err != nil {
		return Erased{}, err
	}
	// Whether or not the key is gone already, their sessions have ended.
	erased := Erased{Receipt: receipt(done), UserID: in.UserID, Erased: true}
	return erased, s.Vault.Erase(ctx, in.UserID)
}

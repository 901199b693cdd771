package commands

import (
	"cmp"
	"context"

	"github.com/invopop/validation"

	"truebond/ledger"
)

// CreateStaff asks for an account of an admin or of somebody in finance.
type CreateStaff struct {
	Email    string `json:"email"`
	Name     string `json:"name"`
	Password string `json:"password"`
	Role     string `json:"role"`
}

func (in CreateStaff) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Email, emailRules...),
		validation.Field(&in.Name, validation.RuneLength(1, 100)),
		validation.Field(&in.Password, passwordRules...),
		validation.Field(&in.Role, validation.Required, oneOf(ledger.RoleAdmin, ledger.RoleFinance)),
	)
}

// StaffMember is an account that was made.
type StaffMember struct {
	Receipt
	ID   string `json:"id"`
	Role string `json:"role"`
}

// CreateStaff makes an account for an admin or for finance. Only an operator may.
func (s *Service) CreateStaff(ctx context.Context, in CreateStaff) (StaffMember, error) {
	user := newID("usr")
	key := "staff/" + user
	hash, err := s.passwords.hash(ctx, in.Password)
	if err != nil {
		return StaffMember{}, err
	}
	email := normalEmail(in.Email)
	seals := s.sealingFirst(ctx, user, key)
	wish := ledger.NewStaff{
		User: user, EmailHash: s.Vault.Hash(ledger.PurposeEmail, email), Roles: []string{in.Role},
		Email: seals.seal("email", email), Name: seals.seal("name", cmp.Or(in.Name, in.Role)),
		Password: seals.seal("password", hash),
	}
	if seals.err != nil {
		return StaffMember{}, seals.err
	}
	done, err := s.ask(ctx, key, nil, ledger.CreateStaff(wish))
	if err != nil {
		return StaffMember{}, err
	}
	return StaffMember{Receipt: receipt(done), ID: user, Role: in.Role}, nil
}

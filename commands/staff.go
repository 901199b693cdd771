package commands

import (
	"context"

	"github.com/invopop/validation"

	"truebond/events"
	"truebond/ledger"
)

// CreateStaff asks for an account of an admin or of somebody in finance.
type CreateStaff struct {
	Email    string `json:"email"`
	Name     string `json:"name"`
	Password string `json:"password"`
	Role     string `json:"role"`
}

// Validate says which field is not as it must be.
func (in CreateStaff) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Email, validation.Required, validation.Length(3, 254), validation.By(isEmail)),
		validation.Field(&in.Name, validation.RuneLength(1, 100)),
		validation.Field(&in.Password, validation.Required, validation.RuneLength(10, 128), validation.By(isGoodPassword)),
		validation.Field(&in.Role, validation.Required, validation.In(ledger.RoleAdmin, ledger.RoleFinance)),
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
	if in.Name == "" {
		in.Name = in.Role
	}
	seals := s.sealing(ctx, user, key)
	wish := ledger.NewStaff{
		User: user, EmailHash: s.Vault.Hash("email", email), Roles: []string{in.Role},
		Email: seals.seal("email", email), Name: seals.seal("name", in.Name), Password: seals.seal("password", hash),
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

// CreateAPIKey asks for a key for a server of the app's.
type CreateAPIKey struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

// Validate says which field is not as it must be.
func (in CreateAPIKey) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Name, validation.Required, validation.RuneLength(1, ledger.APIKeyNameMax)),
		validation.Field(&in.Scopes, validation.Required, validation.Length(1, 10),
			validation.Each(validation.In(ledger.ScopeDeduct, ledger.ScopeOperator))),
	)
}

// APIKeyMade is a key, shown this once.
type APIKeyMade struct {
	Receipt
	ID     string   `json:"id"`
	Key    string   `json:"key"`
	Scopes []string `json:"scopes"`
}

// CreateAPIKey makes a key of 256 bits. Its hash is all that is kept.
func (s *Service) CreateAPIKey(ctx context.Context, in CreateAPIKey) (APIKeyMade, error) {
	id, key := newID("key"), "tb_"+randomToken()
	done, err := s.ask(ctx, "api-key/"+id, nil,
		ledger.CreateAPIKey(events.APIKeyCreated{
			APIKey: id, Name: in.Name, Hash: s.Vault.Hash("apikey", key), Scopes: in.Scopes,
		}))
	if err != nil {
		return APIKeyMade{}, err
	}
	s.show(ctx, done)
	return APIKeyMade{Receipt: receipt(done), ID: id, Key: key, Scopes: in.Scopes}, nil
}

// RevokeAPIKey asks to make a key useless.
type RevokeAPIKey struct {
	Key string `json:"key"`
}

// Validate says which field is not as it must be.
func (in RevokeAPIKey) Validate() error {
	return validation.ValidateStruct(&in, validation.Field(&in.Key, validation.Required, validation.Length(1, 256)))
}

// APIKeyRevoked says that a key is useless from now on.
type APIKeyRevoked struct {
	Receipt
	ID      string `json:"id,omitempty"` // nothing if it was revoked before
	Revoked bool   `json:"revoked"`
}

// RevokeAPIKey makes a key useless, for whoever has it. Again is no harm.
func (s *Service) RevokeAPIKey(ctx context.Context, in RevokeAPIKey) (APIKeyRevoked, error) {
	hash := s.Vault.Hash("apikey", in.Key)
	done, err := s.ask(ctx, "api-key/revoke/"+newID("key"), nil, ledger.RevokeAPIKey(hash))
	if err != nil && !isNothingToDo(err) {
		return APIKeyRevoked{}, err
	}
	revoked := APIKeyRevoked{Receipt: receipt(done), Revoked: true}
	if d, ok := done.Event.Data.(events.APIKeyRevoked); ok {
		s.show(ctx, done) // from now on it opens nothing, wherever it is tried
		revoked.ID = d.APIKey
	}
	return revoked, nil
}

// Erase asks to make a person's data unreadable.
type Erase struct {
	UserID string `json:"user_id"`
	Reason string `json:"reason"`
}

// Validate says which field is not as it must be.
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
	if err := s.Vault.Erase(ctx, in.UserID); err != nil {
		return Erased{}, err
	}
	return Erased{Receipt: receipt(done), UserID: in.UserID, Erased: true}, nil
}

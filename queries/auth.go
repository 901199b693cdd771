package queries

import (
	"context"
	"slices"
	"time"

	"truebond/ledger"
	"truebond/projections"
)

// Me is who the caller is.
type Me struct {
	ID    string   `json:"id"`
	Email string   `json:"email"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

// Me shows callers who they are.
func (s *Service) Me(ctx context.Context, _ Nothing) (Me, error) {
	user, known, err := projections.OneAs[ledger.User](ctx, s.Views, ledger.Users.Name, me(ctx))
	if err != nil {
		return Me{}, err
	}
	if !known || !user.Active() {
		return Me{}, ledger.ErrNotFound
	}
	m := Me{ID: user.ID, Roles: user.Roles}
	if m.Email, err = s.Vault.Text(ctx, user.Email); err != nil {
		return Me{}, err
	}
	m.Name, err = s.Vault.Text(ctx, user.Name)
	return m, err
}

// Session tells whether a session lives, whose it is, and what they may do now.
func (s *Service) Session(ctx context.Context, id string) (user string, roles []string, live bool, err error) {
	session, known, err := projections.OneAs[ledger.Session](ctx, s.Views, ledger.Sessions.Name, id)
	if err != nil || !known || !session.Live(time.Now()) {
		return "", nil, false, err
	}
	owner, known, err := projections.OneAs[ledger.User](ctx, s.Views, ledger.Users.Name, session.User)
	if err != nil || !known || !owner.Active() {
		return "", nil, false, err
	}
	return owner.ID, slices.Clone(owner.Roles), true, nil
}

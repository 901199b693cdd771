package queries

import (
	"context"
	"slices"

	"truebond/ledger"
	"truebond/projections"
)

// HashAPIKey is the hash by which an API key is known.
func (s *Service) HashAPIKey(key string) string { return s.Vault.Hash(ledger.PurposeAPIKey, key) }

// APIKey tells whose the API key with a hash is and what it may do.
func (s *Service) APIKey(ctx context.Context, hash string) (id string, scopes []string, ok bool, err error) {
	k, known, err := s.apiKeys.One(ctx, hash)
	if err != nil || !known || k.Revoked {
		return "", nil, false, err
	}
	return k.ID, slices.Clone(k.Scopes), true, nil
}

// APIKey is what is known of a key: all but the key.
type APIKey struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Revoked bool     `json:"revoked"`
}

// APIKeys shows an operator all keys there ever were, the newest first.
func (s *Service) APIKeys(ctx context.Context, in Page) (List[APIKey], error) {
	return listing[ledger.APIKey, APIKey]{
		view:  ledger.APIKeys.Name,
		query: projections.Query{Index: projections.APIKeysByID, Desc: true},
		after: func(f projections.Found[ledger.APIKey]) []any { return []any{f.Doc.ID} },
		show: singly(func(k ledger.APIKey) APIKey {
			return APIKey{ID: k.ID, Name: k.Name, Scopes: notNil(k.Scopes), Revoked: k.Revoked}
		}),
	}.page(ctx, s.Views, in)
}

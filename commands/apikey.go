package commands

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/invopop/validation"

	"truebond/events"
	"truebond/ledger"
)

// APIKeyPrefix begins every API key, so that it can be told from an access token.
const APIKeyPrefix = "tb_"

// APIKeyMax is how long what is sent as one may be, in bytes. Ours have 46.
const APIKeyMax = 256

// CreateAPIKey asks for a key for a server of the app's.
type CreateAPIKey struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

func (in CreateAPIKey) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.Name, validation.Required, validation.RuneLength(1, ledger.APIKeyNameMax)),
		validation.Field(&in.Scopes, validation.Required, validation.Length(1, 10),
			validation.Each(oneOf(ledger.ScopeDeduct, ledger.ScopeOperator))),
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
	id, key := newID("key"), APIKeyPrefix+randomToken()
	done, err := s.ask(ctx, "api-key/"+id, nil,
		ledger.CreateAPIKey(events.APIKeyCreated{
			APIKey: id, Name: in.Name, Hash: s.Vault.Hash(ledger.PurposeAPIKey, key), Scopes: in.Scopes,
		}))
	if err != nil {
		return APIKeyMade{}, err
	}
	s.show(ctx, done.Event.Position)
	return APIKeyMade{Receipt: receipt(done), ID: id, Key: key, Scopes: in.Scopes}, nil
}

// RevokeAPIKey asks to make a key useless, which is named by its id, or by itself.
type RevokeAPIKey struct {
	ID  string `json:"id,omitempty"`
	Key string `json:"key,omitempty"`
}

func (in RevokeAPIKey) Validate() error {
	return validation.ValidateStruct(&in,
		validation.Field(&in.ID, validation.Length(1, idMax),
			validation.Required.When(in.Key == "").Error("is needed, or key"),
			validation.Empty.When(in.Key != "").Error("must not stand beside key")),
		validation.Field(&in.Key, validation.Length(1, APIKeyMax)),
	)
}

// APIKeyRevoked says that a key is useless from now on.
type APIKeyRevoked struct {
	Receipt
	ID      string `json:"id,omitempty"` // nothing if it was revoked before
	Revoked bool   `json:"revoked"`
}

// BearerOf is who comes with the API key of a hash. Only the key's end is remembered under that name.
func BearerOf(hash string) events.Actor { return events.Actor{Kind: events.ActorApp, ID: hash} }

// RevokeAPIKey makes a key useless, for whoever has it. Again is no harm.
func (s *Service) RevokeAPIKey(ctx context.Context, in RevokeAPIKey) (APIKeyRevoked, error) {
	hash := s.Vault.Hash(ledger.PurposeAPIKey, in.Key)
	if in.ID != "" {
		var err error
		if hash, err = s.hashOfKey(ctx, in.ID); err != nil {
			return APIKeyRevoked{}, err
		}
	}
	done, err := s.ask(ctx, "api-key/revoke/"+newID("key"), nil, ledger.RevokeAPIKey(hash))
	if err != nil && !isNothingToDo(err) {
		return APIKeyRevoked{}, err
	}
	revoked := APIKeyRevoked{Receipt: s.receiptOrEnd(done).alsoFor(BearerOf(hash)), Revoked: true}
	s.show(ctx, revoked.Position) // to those who list keys
	if d, ok := done.Event.Data.(events.APIKeyRevoked); ok {
		revoked.ID = d.APIKey
	}
	return revoked, nil
}

// hashOfKey is the hash of the API key with an id; empty if there is none. One that was made a moment
// ago may not be in the views yet.
func (s *Service) hashOfKey(ctx context.Context, id string) (string, error) {
	hash, err := s.APIKeyHash(ctx, id)
	if err != nil || hash != "" {
		return hash, err
	}
	if err := s.await(ctx, s.Writer.Last()); err != nil {
		return "", fmt.Errorf("%w: %w", ledger.Refuse("views_behind", "Whether there is such a key is not known yet. "+
			"Nothing was done; ask again."), err)
	}
	return s.APIKeyHash(ctx, id)
}

// randomToken is 256 random bits that go into a URL.
func randomToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

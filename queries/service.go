// Package queries reads documents for people and programs: a file a feature. No query
// folds events; what it shows is what the projector has stored.
package queries

import (
	"context"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// A Service is all that can be read: a method a query, each in its feature's file.
type Service struct {
	Parts
	apiKeys *projections.Cache[ledger.APIKey]
}

// Parts are what a Service is put together from.
type Parts struct {
	Views    *projections.Reader
	Vault    Vault
	Now      func() time.Time                          // the ledger's clock
	Position func() uint64                             // how far the views are
	Changes  func(view string) (count uint64, ok bool) // how often a view has changed
	Tree     Tree
	Bodies   Bodies
}

// NewService puts a Service together.
func NewService(p Parts) *Service {
	return &Service{p, projections.NewCache[ledger.APIKey](p.Views, ledger.APIKeys.Name, p.Changes)}
}

// A Vault opens personal text for those who may read it. See commands/vault.
type Vault interface {
	// Text is the text, or "erased" if its owner's data was erased.
	Text(ctx context.Context, s events.Sealed) (string, error)
	// Texts is Text for many, in their order, with one look. What is not sealed is empty.
	Texts(ctx context.Context, sealed []events.Sealed) ([]string, error)
	Hash(purpose, text string) string
}

// Nothing is asked.
type Nothing struct{}

func me(ctx context.Context) string { return ledger.CallerOf(ctx).Actor.ID }

// unlessZero is a time as answers have one that may be missing.
func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// notNil is a list that JSON writes as one, also when it is empty.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

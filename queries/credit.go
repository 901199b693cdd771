package queries

import (
	"context"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// Balance is what a user has, in credits.
type Balance struct {
	Available   int64  `json:"available"` // what they may spend
	Held        int64  `json:"held"`
	Promotional int64  `json:"promotional"`
	Paid        int64  `json:"paid"`
	Debt        int64  `json:"debt"`
	Lots        []Lot  `json:"lots"`
	Position    uint64 `json:"position"` // of the log, as of which this is so
}

// A Lot is credits that came together.
type Lot struct {
	ID        string            `json:"id"`
	Kind      events.CreditKind `json:"kind"`
	Remaining int64             `json:"remaining"`
	ExpiresAt *time.Time        `json:"expires_at"` // null: never
}

// Balance shows the caller what they have.
func (s *Service) Balance(ctx context.Context, _ Nothing) (Balance, error) {
	position, now := s.Position(), s.Now()
	found, err := projections.GetAs[ledger.Account](ctx, s.Views, ledger.Accounts.Name, me(ctx))
	if err != nil {
		return Balance{}, err
	}
	// What is stored may have moved on since it was looked how far the views are.
	account, position := found[me(ctx)].Doc, max(position, found[me(ctx)].Position)
	b := Balance{
		Available: account.Available(now), Held: account.Held(), Promotional: account.Promotional(now),
		Paid: account.Paid(now), Debt: account.Debt(), Lots: []Lot{}, Position: position,
	}
	for _, l := range account.LotsOf(now) {
		b.Lots = append(b.Lots, Lot{ID: l.ID, Kind: l.Kind, Remaining: l.Remaining, ExpiresAt: unlessZero(l.ExpiresAt)})
	}
	return b, nil
}

// HistoryLine is one line of the caller's statement.
type HistoryLine struct {
	Position       uint64    `json:"position"`
	Type           string    `json:"type"`
	Credits        int64     `json:"credits"` // signed
	AvailableAfter int64     `json:"available_after"`
	Reason         string    `json:"reason"`
	Key            string    `json:"key"`
	At             time.Time `json:"at"`
}

// History shows the caller what has changed their credits, the newest first.
func (s *Service) History(ctx context.Context, in Page) (List[HistoryLine], error) {
	user := me(ctx)
	return listing[projections.HistoryEntry, HistoryLine]{
		view: projections.History.Name,
		query: projections.Query{
			Range: projections.Range{From: user + "/", Until: user + "0"}, // "0" comes right after "/"
			Desc:  true,
		},
		after: byID[projections.HistoryEntry],
		show: singly(func(e projections.HistoryEntry) HistoryLine {
			return HistoryLine{
				Position: e.Position, Type: e.Type, Credits: e.Credits, AvailableAfter: e.Available,
				Reason: e.Reason, Key: e.Key, At: projections.FromMillis(e.At),
			}
		}),
	}.page(ctx, s.Views, in)
}

// Pricing is what things cost now, in credits.
type Pricing struct {
	Version     int   `json:"version"`
	Message     int64 `json:"message"`
	AudioMinute int64 `json:"audio_minute"`
	VideoMinute int64 `json:"video_minute"`
	SignupBonus int64 `json:"signup_bonus"`
}

// Pricing shows today's prices.
func (s *Service) Pricing(ctx context.Context, _ Nothing) (Pricing, error) {
	p, _, err := projections.OneAs[events.PricesSet](ctx, s.Views, ledger.Prices.Name, ledger.Current)
	return Pricing(p), err
}

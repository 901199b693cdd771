package events

import "fmt"

// A Move takes Amount of Asset from one account and gives it to another, so that
// double entry balances by construction. From loses, To gains.
type Move struct {
	From   Account `json:"from"`
	To     Account `json:"to"`
	Asset  Asset   `json:"asset"`
	Amount int64   `json:"amount"` // credits, or minor units of a currency (ISO 4217); above zero
}

// Validate reports what is wrong with a move: an amount that is not positive, one
// account on both sides, or an account that does not hold the asset.
func (m Move) Validate() error {
	switch {
	case m.Amount <= 0:
		return fmt.Errorf("move %s → %s: the amount %d is not above zero", m.From, m.To, m.Amount)
	case m.From == m.To:
		return fmt.Errorf("move %s → %s: both sides are one account", m.From, m.To)
	case !m.From.Holds(m.Asset):
		return fmt.Errorf("move %s → %s: %s does not hold %s", m.From, m.To, m.From, m.Asset)
	case !m.To.Holds(m.Asset):
		return fmt.Errorf("move %s → %s: %s does not hold %s", m.From, m.To, m.To, m.Asset)
	}
	return nil
}

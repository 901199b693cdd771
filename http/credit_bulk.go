package http

import (
	"context"
	nethttp "net/http"

	"truebond/commands"
	"truebond/events"
	"truebond/ledger"
)

// bulk takes many wishes in one call, and tells of each what a call of its own would.
type bulk struct{ do *commands.Service }

// DeductedMany is what many charges came to, in the order of the items.
type DeductedMany struct {
	Results []DeductResult `json:"results"`

	receipts []commands.Receipt
}

// A DeductResult is the answer to one charge: what was charged, or why it was not.
type DeductResult struct {
	Status    int      `json:"status"` // that of a call of its own: 201 if it was charged
	Replayed  bool     `json:"replayed,omitempty"`
	Position  uint64   `json:"position,omitempty"`
	Charged   int64    `json:"charged,omitempty"`
	Available *int64   `json:"available,omitempty"`
	Problem   *problem `json:"problem,omitempty"`
}

func (b bulk) deduct(ctx context.Context, in commands.DeductMany) (DeductedMany, error) {
	done, err := b.do.DeductMany(ctx, in)
	if err != nil {
		return DeductedMany{}, err
	}
	answer := DeductedMany{Results: make([]DeductResult, len(done))}
	for i := range done {
		d := &done[i]
		if d.Err != nil {
			p := *problemOf(d.Err)
			p.RequestID = ledger.CallerOf(ctx).RequestID
			answer.Results[i] = DeductResult{Status: p.Status, Problem: &p}
			continue
		}
		answer.receipts = append(answer.receipts, d.Receipt)
		answer.Results[i] = DeductResult{Status: nethttp.StatusCreated, Replayed: d.Replayed,
			Position: d.Position, Charged: d.Charged, Available: &d.Available}
	}
	return answer, nil
}

// ReceiptOf is the furthest position of all. Each result says of itself whether it is
// a replay.
func (m DeductedMany) ReceiptOf() (position uint64, replayed bool) {
	for _, r := range m.receipts {
		position = max(position, r.Position)
	}
	return position, false
}

// RememberFor are those who were charged.
func (m DeductedMany) RememberFor() []events.Actor {
	var all []events.Actor
	for _, r := range m.receipts {
		all = append(all, r.RememberFor()...)
	}
	return all
}

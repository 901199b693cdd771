package queries

import (
	"context"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// Call is a call as its parties see it.
type Call struct {
	ID             string               `json:"id"`
	Kind           events.CallKind      `json:"kind"`
	State          ledger.CallState     `json:"state"`
	From           string               `json:"from"`
	To             string               `json:"to"`
	PricePerMinute int64                `json:"price_per_minute"`
	Charged        int64                `json:"charged"` // credits so far
	Seconds        int64                `json:"seconds"` // from accept to the end; 0 before it
	EndedBy        string               `json:"ended_by,omitempty"`
	EndReason      events.CallEndReason `json:"end_reason,omitempty"`
	InitiatedAt    time.Time            `json:"initiated_at"`
	AcceptedAt     *time.Time           `json:"accepted_at,omitempty"`
	EndedAt        *time.Time           `json:"ended_at,omitempty"`
}

// CallHistory shows the caller their calls, the newest first.
func (s *Service) CallHistory(ctx context.Context, in Page) (List[Call], error) {
	return listing[ledger.Call, Call]{
		view:  ledger.Calls.Name,
		query: projections.Query{Index: projections.CallsByParty, Equal: []any{me(ctx)}, Desc: true},
		after: func(f projections.Found[ledger.Call]) []any { return []any{int64(f.Doc.Position)} },
		show:  singly(callView),
	}.page(ctx, s.Views, in)
}

// ActiveCalls are those of the caller's calls that ring or go on: one at most.
type ActiveCalls struct {
	Data []Call `json:"data"`
}

// ActiveCalls shows the caller's calls that ring or go on.
func (s *Service) ActiveCalls(ctx context.Context, _ Nothing) (ActiveCalls, error) {
	line, _, err := projections.OneAs[ledger.Line](ctx, s.Views, ledger.Lines.Name, me(ctx))
	if err != nil {
		return ActiveCalls{}, err
	}
	calls, err := projections.GetAs[ledger.Call](ctx, s.Views, ledger.Calls.Name, line.Call)
	if err != nil {
		return ActiveCalls{}, err
	}
	answer := ActiveCalls{Data: []Call{}}
	if c, ok := calls[line.Call]; ok {
		answer.Data = append(answer.Data, callView(c.Doc))
	}
	return answer, nil
}

func callView(c ledger.Call) Call {
	return Call{
		ID: c.ID, Kind: c.Kind, State: c.State, From: c.From, To: c.To, PricePerMinute: c.PricePerMinute,
		Charged: c.Charged, Seconds: c.Seconds, EndedBy: c.EndedBy, EndReason: c.EndReason,
		InitiatedAt: c.InitiatedAt, AcceptedAt: unlessZero(c.AcceptedAt), EndedAt: unlessZero(c.EndedAt),
	}
}

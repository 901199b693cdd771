package queries

import (
	"context"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
)

// Package is what can be bought, at its price in each currency.
type Package struct {
	Package string                 `json:"package"`
	Credits int64                  `json:"credits"`
	Prices  map[events.Asset]int64 `json:"prices"` // in minor units, by currency
}

// Packages are all that can be bought.
type Packages struct {
	Version int       `json:"version"`
	Data    []Package `json:"data"`
}

// Packages shows what can be bought today.
func (s *Service) Packages(ctx context.Context, _ Nothing) (Packages, error) {
	set, _, err := projections.OneAs[events.PackagesSet](ctx, s.Views, ledger.Packages.Name, ledger.Current)
	if err != nil {
		return Packages{}, err
	}
	answer := Packages{Version: set.Version, Data: []Package{}}
	for _, p := range set.Packages {
		answer.Data = append(answer.Data, Package{Package: p.Name, Credits: p.Credits, Prices: p.Prices})
	}
	return answer, nil
}

// Payment is a wish to buy, and whether it was paid.
type Payment struct {
	IntentID  string               `json:"intent_id"`
	Package   string               `json:"package"`
	Credits   int64                `json:"credits"`
	Amount    int64                `json:"amount"` // minor units
	Currency  events.Asset         `json:"currency"`
	Status    ledger.PaymentStatus `json:"status"`
	CreatedAt time.Time            `json:"created_at"`
}

// PaymentDetail is a payment with what its buyer needs to pay it.
type PaymentDetail struct {
	Payment
	ClientSecret string `json:"client_secret"`
}

// IntentID names an intent in a path.
type IntentID struct {
	ID string `param:"id"`
}

// Intent shows the caller one of their payments.
func (s *Service) Intent(ctx context.Context, in IntentID) (PaymentDetail, error) {
	payment, known, err := projections.OneAs[ledger.Payment](ctx, s.Views, ledger.Payments.Name, in.ID)
	if err != nil {
		return PaymentDetail{}, err
	}
	if !known || payment.User != me(ctx) {
		return PaymentDetail{}, ledger.ErrNotFound
	}
	secret, err := s.Vault.Text(ctx, payment.ClientSecret)
	return PaymentDetail{Payment: paymentView(payment), ClientSecret: secret}, err
}

// AnyIntent shows an operator somebody's payment, without what it takes to pay it.
func (s *Service) AnyIntent(ctx context.Context, in IntentID) (Payment, error) {
	payment, known, err := projections.OneAs[ledger.Payment](ctx, s.Views, ledger.Payments.Name, in.ID)
	if err == nil && !known {
		err = ledger.ErrNotFound
	}
	return paymentView(payment), err
}

// PaymentHistory shows the caller their payments, the newest first.
func (s *Service) PaymentHistory(ctx context.Context, in Page) (List[Payment], error) {
	return listing[ledger.Payment, Payment]{
		view: ledger.Payments.Name,
		query: projections.Query{
			Index: projections.PaymentsByUser, Equal: []any{me(ctx)}, Desc: true,
		},
		after: func(f projections.Found[ledger.Payment]) []any { return []any{int64(f.Doc.Position)} },
		show:  singly(paymentView),
	}.page(ctx, s.Views, in)
}

func paymentView(p ledger.Payment) Payment {
	return Payment{
		IntentID: p.Intent, Package: p.Package, Credits: p.Credits, Amount: p.Amount, Currency: p.Currency,
		Status: p.Status, CreatedAt: p.IntendedAt,
	}
}

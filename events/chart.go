package events

import (
	"slices"
	"strings"
)

// An Account is a path in the chart of accounts.
//
//	credits   user/<u>/<lot>  user/<u>/<lot>/held  user/<u>/debt  issued/<kind>
//	          spent/<kind>/<use>  expired/<kind>  forgiven
//	money     stripe/pending  stripe/balance  bank  tax/input  tax/payable
//	          deferred/<lot>  revenue/<use>  refunds  disputes
//	          fees/processing  fees/disputes  fx
//
// A balance is what came in less what went out: assets, expenses and a user's lots
// are zero or more; liabilities, revenue and issued are zero or less.
type Account string

// An Asset is what an account holds: credits, or a currency (ISO 4217).
type Asset string

// The assets. A currency's amounts are in minor units; all six have two decimals.
const (
	Credit Asset = "CREDIT"
	INR    Asset = "INR"
	USD    Asset = "USD"
	EUR    Asset = "EUR"
	GBP    Asset = "GBP"
	CAD    Asset = "CAD"
	AUD    Asset = "AUD"
)

// Currencies are those that payments are accepted in, the default one first.
var Currencies = []Asset{INR, USD, EUR, GBP, CAD, AUD}

// IsCurrency tells whether payments are accepted in it.
func (a Asset) IsCurrency() bool {
	return slices.Contains(Currencies, a)
}

// A CreditKind says how credits came: bought, or given.
type CreditKind string

// The kinds of credits.
const (
	Paid        CreditKind = "paid"
	Promotional CreditKind = "promotional"
)

// The accounts that are one of a kind.
const (
	StripePending    Account = "stripe/pending"
	TaxPayable       Account = "tax/payable"
	Refunds          Account = "refunds"
	Disputes         Account = "disputes"
	RevenueBreakage  Account = "revenue/breakage"
	RevenueRecovered Account = "revenue/recovered"
	Forgiven         Account = "forgiven"
)

// LotOf is the account of a user's free credits in a lot.
func LotOf(user, lot string) Account { return Account("user/" + user + "/" + lot) }

// HeldOf is the account of a user's credits in a lot that a hold has set aside.
func HeldOf(user, lot string) Account { return Account("user/" + user + "/" + lot + "/held") }

// DebtOf is the account of what a user owes after a clawback; zero or less.
func DebtOf(user string) Account { return Account("user/" + user + "/debt") }

// Issued is where credits of a kind come from; zero or less.
func Issued(kind CreditKind) Account { return Account("issued/" + kind) }

// Spent is where credits of a kind go when they are used for something.
func Spent(kind CreditKind, use string) Account { return Account("spent/" + string(kind) + "/" + use) }

// Expired is where credits of a kind go when their lot's time is over.
func Expired(kind CreditKind) Account { return Account("expired/" + kind) }

// Deferred is what is owed for a lot's credits that are not used yet; zero or less.
func Deferred(lot string) Account { return Account("deferred/" + lot) }

// Revenue is what a use of credits has earned; zero or less.
func Revenue(use string) Account { return Account("revenue/" + use) }

// User is the user whose account it is; empty if it is nobody's.
func (a Account) User() string {
	rest, ok := strings.CutPrefix(string(a), "user/")
	if !ok {
		return ""
	}
	user, _, _ := strings.Cut(rest, "/")
	return user
}

// Class is the account without what names a person or a lot, as reports show it:
// `user/lots`, `user/held`, `user/debt`, `deferred`; others stand for themselves.
func (a Account) Class() string {
	switch root, rest, _ := strings.Cut(string(a), "/"); root {
	case "deferred":
		return "deferred"
	case "user":
		_, part, _ := strings.Cut(rest, "/")
		switch {
		case part == "debt":
			return "user/debt"
		case strings.HasSuffix(part, "/held"):
			return "user/held"
		}
		return "user/lots"
	}
	return string(a)
}

// Holds tells whether the chart has this account and lets it hold the asset.
func (a Account) Holds(asset Asset) bool {
	var room [partsMax]string
	parts := room[:0]
	for rest, more := string(a), true; more; {
		var part string
		if part, rest, more = strings.Cut(rest, "/"); part == "" || len(parts) == partsMax {
			return false
		}
		parts = append(parts, part)
	}
	if shape, ok := chart[parts[0]]; ok && shape.fits(parts) {
		return asset.IsCurrency() != shape.credits && (asset == Credit || asset.IsCurrency())
	}
	return false
}

// partsMax is how many parts the longest path has: `user/<u>/<lot>/held`.
const partsMax = 4

// An accountShape is a root of the chart: how many parts its paths have, what the
// second may be, and whether it holds credits or money.
type accountShape struct {
	partsMin, partsMax int
	second             []string // nil: anything
	credits            bool
}

func (s accountShape) fits(parts []string) bool {
	if len(parts) < s.partsMin || len(parts) > s.partsMax {
		return false
	}
	if len(parts) == 4 && parts[0] == "user" && parts[3] != "held" {
		return false
	}
	return s.second == nil || len(parts) < 2 || slices.Contains(s.second, parts[1])
}

var kinds = []string{string(Paid), string(Promotional)}

var chart = map[string]accountShape{
	"user":     {3, 4, nil, true},
	"issued":   {2, 2, kinds, true},
	"spent":    {3, 3, kinds, true},
	"expired":  {2, 2, kinds, true},
	"forgiven": {1, 1, nil, true},
	"stripe":   {2, 2, []string{"pending", "balance"}, false},
	"bank":     {1, 1, nil, false},
	"deferred": {2, 2, nil, false},
	"tax":      {2, 2, []string{"payable", "input"}, false},
	"revenue":  {2, 2, []string{"messages", "calls", "other", "features", "breakage", "recovered"}, false},
	"refunds":  {1, 1, nil, false},
	"disputes": {1, 1, nil, false},
	"fees":     {2, 2, []string{"processing", "disputes"}, false},
	"fx":       {1, 1, nil, false},
}

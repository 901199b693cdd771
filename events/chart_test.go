package events

import (
	"slices"
	"testing"
)

func TestTheChartHasTheseAccountsAndNoOthers(t *testing.T) {
	for asset, accounts := range map[Asset][]Account{
		Credit: {
			"user/u/lot", "user/u/lot/held", "user/u/debt", "issued/paid", "issued/promotional", "spent/paid/messages",
			"spent/promotional/other", "expired/paid", "expired/promotional", "forgiven",
		},
		INR: {
			"stripe/pending", "stripe/balance", "bank", "tax/input", "tax/payable", "deferred/lot", "revenue/messages",
			"revenue/calls", "revenue/other", "revenue/features", "revenue/breakage", "revenue/recovered", "refunds",
			"disputes", "fees/processing", "fees/disputes", "fx",
		},
	} {
		for _, a := range accounts {
			for _, other := range append([]Asset{Credit, "", "credit", "XAU"}, Currencies...) {
				want := other == asset || other.IsCurrency() && asset.IsCurrency()
				if a.Holds(other) != want {
					t.Errorf("%s holds %q: %t", a, other, !want)
				}
			}
			for _, strange := range []Account{"x/" + a, a + "/", "/" + a, a + "/x/y"} {
				if strange.Holds(asset) {
					t.Errorf("the chart has %q", strange)
				}
			}
		}
	}
	for _, strange := range []Account{
		"", "/", "user", "user/u", "user//lot", "user/u/", "user/u/lot/free", "user/u/lot/held/held", "issued",
		"issued/free", "issued/paid/x", "spent", "spent/paid", "spent/free/messages", "expired", "expired/free",
		"forgiven/x", "stripe", "stripe/fees", "bank/x", "deferred", "deferred/lot/x", "tax", "tax/x", "revenue",
		"revenue/flowers", "revenue/calls/x", "refunds/x", "disputes/x", "fees", "fees/x", "fx/INR",
	} {
		if strange.Holds(Credit) || strange.Holds(INR) {
			t.Errorf("the chart has %q", strange)
		}
	}
}

// What a report shows of an account names neither a person nor a lot.
func TestAnAccountsClassNamesNobody(t *testing.T) {
	for account, want := range map[Account][2]string{
		"user/u/lot":          {"user/lots", "u"},
		"user/u/lot/held":     {"user/held", "u"},
		"user/u/debt":         {"user/debt", "u"},
		"deferred/lot":        {"deferred", ""},
		"revenue/messages":    {"revenue/messages", ""},
		"spent/paid/messages": {"spent/paid/messages", ""},
		"bank":                {"bank", ""},
	} {
		if got := [2]string{account.Class(), account.User()}; !slices.Equal(got[:], want[:]) {
			t.Errorf("the class of %s and its user are %q, want %q", account, got, want)
		}
	}
}

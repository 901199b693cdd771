package ledger_test

import (
	"testing"

	"truebond/events"
)

// TestEachEventMovesWhatTheBooksSay reads like the table of the books.
func TestEachEventMovesWhatTheBooksSay(t *testing.T) {
	small := bought("A", 50, 5000)
	for _, c := range []struct {
		name   string
		having []step
		when   step
		moves  []string
	}{
		{
			"a bonus of 10", nil, given("B", 10),
			[]string{"issued/promotional → user/u/B 10 CREDIT"},
		}, {
			"a purchase", nil, small,
			[]string{"issued/paid → user/u/A 50 CREDIT", "deferred/A → stripe/pending 5000 INR"},
		}, {
			"a purchase with 18 % tax inside", nil, boughtWithTax("A", 50, 4237, 763),
			[]string{
				"issued/paid → user/u/A 50 CREDIT",
				"deferred/A → stripe/pending 4237 INR", "tax/payable → stripe/pending 763 INR",
			},
		}, {
			"7 spent over two lots", []step{small, spent(45, "calls"), bought("B", 600, 35000)},
			spent(7, "messages"),
			[]string{
				"user/u/A → spent/paid/messages 5 CREDIT", "user/u/B → spent/paid/messages 2 CREDIT",
				"revenue/messages → deferred/A 500 INR", "revenue/messages → deferred/B 116 INR",
			},
		}, {
			"given and bought credits spent together", []step{small, given("B", 10)}, spent(12, "other"),
			[]string{
				"user/u/B → spent/promotional/other 10 CREDIT", "user/u/A → spent/paid/other 2 CREDIT",
				"revenue/other → deferred/A 200 INR",
			},
		}, {
			"a hold of 10", []step{small}, reserved("h", 10),
			[]string{"user/u/A → user/u/A/held 10 CREDIT"},
		}, {
			"6 of a hold captured, 4 released", []step{small, reserved("h", 10)}, captured("h", 6),
			[]string{
				"user/u/A/held → spent/paid/calls 6 CREDIT", "user/u/A/held → user/u/A 4 CREDIT",
				"revenue/calls → deferred/A 600 INR",
			},
		}, {
			"a hold released", []step{small, reserved("h", 10)}, released("h"),
			[]string{"user/u/A/held → user/u/A 10 CREDIT"},
		}, {
			"a hold released when there is a debt",
			[]step{small, spent(30, "calls"), reserved("h", 10), withdrawn("A", 5000)}, released("h"),
			[]string{"user/u/A/held → user/u/debt 10 CREDIT", "disputes → deferred/A 1000 INR"},
		}, {
			"a hold released after its lot has expired",
			[]step{boughtUntil("A", 50, 5000, 9), reserved("h", 4), days(9), expired("A")}, released("h"),
			[]string{"user/u/A/held → expired/paid 4 CREDIT", "revenue/breakage → deferred/A 400 INR"},
		}, {
			"1700 refunded, 20 spent", []step{small, spent(20, "calls")}, refunded("A", 1700),
			[]string{"user/u/A → issued/paid 17 CREDIT", "stripe/pending → deferred/A 1700 INR"},
		}, {
			"then 3300 withdrawn by a dispute",
			[]step{small, spent(20, "calls"), refunded("A", 1700)}, withdrawn("A", 3300),
			[]string{
				"user/u/A → issued/paid 13 CREDIT", "user/u/debt → issued/paid 20 CREDIT",
				"stripe/pending → deferred/A 1300 INR", "stripe/pending → disputes 2000 INR",
			},
		}, {
			"the dispute won, which is the exact inverse",
			[]step{small, spent(20, "calls"), refunded("A", 1700), withdrawn("A", 3300)}, reinstated("A", 3300),
			[]string{
				"issued/paid → user/u/A 13 CREDIT", "issued/paid → user/u/debt 20 CREDIT",
				"deferred/A → stripe/pending 1300 INR", "disputes → stripe/pending 2000 INR",
			},
		}, {
			"5000 withdrawn, all spent", []step{small, spent(50, "calls")}, withdrawn("A", 5000),
			[]string{"user/u/debt → issued/paid 50 CREDIT", "stripe/pending → disputes 5000 INR"},
		}, {
			"a top-up with a debt of 20", []step{small, spent(20, "calls"), withdrawn("A", 5000)},
			bought("B", 50, 5000),
			[]string{
				"issued/paid → user/u/B 50 CREDIT", "user/u/B → user/u/debt 20 CREDIT",
				"deferred/B → stripe/pending 5000 INR", "revenue/recovered → deferred/B 2000 INR",
			},
		}, {
			"a dispute won after its debt was forgiven",
			[]step{small, spent(20, "calls"), withdrawn("A", 5000), forgiven(15)}, reinstated("A", 5000),
			[]string{
				"issued/paid → user/u/A 30 CREDIT", "issued/paid → user/u/debt 20 CREDIT",
				"user/u/debt → forgiven 15 CREDIT",
				"deferred/A → stripe/pending 3000 INR", "disputes → stripe/pending 2000 INR",
			},
		}, {
			"a debt forgiven", []step{small, spent(20, "calls"), withdrawn("A", 5000)}, forgiven(15),
			[]string{"forgiven → user/u/debt 15 CREDIT"},
		}, {
			"a paid lot expired", []step{boughtUntil("A", 50, 5000, 9), spent(8, "calls"), days(9)}, expired("A"),
			[]string{"user/u/A → expired/paid 42 CREDIT", "revenue/breakage → deferred/A 4200 INR"},
		}, {
			"a paid lot expired that pays a debt before the one that paid it",
			[]step{
				bought("A", 20, 2000), spent(20, "calls"), bought("B", 50, 5000),
				granted(events.Lot{
					ID: "C", Kind: events.Paid, Priority: 1, Credits: 30, Price: 3000, Currency: events.INR, Payment: "pi_C",
					ExpiresAt: opening.AddDate(0, 0, 9),
				}),
				withdrawn("A", 2000), days(9),
			},
			expired("C"),
			[]string{
				"user/u/debt → user/u/B 20 CREDIT",
				"user/u/C → user/u/debt 20 CREDIT", "user/u/C → expired/paid 10 CREDIT",
				"deferred/B → revenue/recovered 2000 INR",
				"revenue/breakage → deferred/C 1000 INR", "revenue/recovered → deferred/C 2000 INR",
			},
		}, {
			"a promotional lot expired", []step{givenUntil("B", 10, 9), spent(3, "calls"), days(9)}, expired("B"),
			[]string{"user/u/B → expired/promotional 7 CREDIT"},
		}, {
			"6 of an expired lot undone",
			[]step{boughtUntil("A", 50, 5000, 9), spent(6, "calls"), days(9), expired("A")}, undone(2),
			[]string{"spent/paid/calls → expired/paid 6 CREDIT", "revenue/breakage → revenue/calls 600 INR"},
		}, {
			"1000 of 35000 for 600 refunded, all spent but 17",
			[]step{bought("A", 600, 35000), spent(583, "calls")}, refunded("A", 1000),
			[]string{
				"user/u/A → issued/paid 17 CREDIT",
				"stripe/pending → deferred/A 992 INR", "stripe/pending → refunds 8 INR",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) { having(t, c.having...).moves(t, c.when, c.moves...) })
	}
}

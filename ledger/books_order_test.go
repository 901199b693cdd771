package ledger_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/ledger"
)

func TestStripesFactsComeToTheSameInAnyOrderAndRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		used := rapid.Int64Range(1, 50).Draw(t, "used")
		early := []step{given("B", 5), bought("A", 50, 4237), spent(used, ledger.UseCalls), bought("C", 20, 777)}
		facts := drawReports(t, 5)
		var first *teller
		for _, order := range permutations(len(facts)) {
			d := having(t, early...)
			for _, at := range order {
				d.follow(t, facts[at])
			}
			if first == nil {
				first = d
			}
			sameAccount(t, order, d, first)
		}
	})
}

// The grant and the spending are among what is put in every order. A spend may be refused
// in some orders and take other lots in some, so histories that accepted the same are
// compared with each other.
func TestFactsBeforeTheGrantComeToTheSameAsAfterIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		used := rapid.Int64Range(1, 50).Draw(t, "used")
		facts := drawReports(t, 3)
		all := slices.Concat([]step{boughtWithTax("A", 50, 4237, 763), spent(used, ledger.UseCalls)}, facts)
		byAccepted := map[string]*teller{}
		for _, order := range permutations(len(all)) {
			d := having(t, given("B", 5))
			for _, at := range order {
				_ = all[at](d)
			}
			accepted := d.accepted()
			if byAccepted[accepted] == nil {
				byAccepted[accepted] = d
			}
			sameAccount(t, order, d, byAccepted[accepted])
		}
	})
}

func TestWithdrawnAndFullyReinstatedIsNeverDisputed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(1, 6000).Draw(t, "amount")
		used := rapid.Int64Range(0, 50).Draw(t, "used")
		common := []step{bought("A", 50, 5000)}
		if used > 0 {
			common = append(common, spent(used, ledger.UseCalls))
		}
		refund := refunded("A", rapid.Int64Range(1, 5000).Draw(t, "refund"))
		topUp := bought("B", 120, 10000)
		all := []step{withdrawn("A", amount), reinstated("A", amount), refund, topUp}
		undisputed := having(t, append(common, refund, topUp)...)
		for _, order := range permutations(len(all)) {
			d := having(t, common...)
			for _, at := range order {
				d.follow(t, all[at])
			}
			if !maps.Equal(d.balances, undisputed.balances) {
				t.Fatalf("in the order %v the balances are\n%v\nwithout a dispute\n%v",
					order, d.balances, undisputed.balances)
			}
			if !reflect.DeepEqual(d.account.Lots, undisputed.account.Lots) {
				t.Fatalf("in the order %v the lots are\n%s\nwithout a dispute\n%s",
					order, inJSON(d.account.Lots), inJSON(undisputed.account.Lots))
			}
		}
	})
}

func TestMergingFactsForgetsTheirOrderGroupingAndRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawAnyFacts(t), drawAnyFacts(t), drawAnyFacts(t)
		same := func(law string, x, y events.PaymentFacts) {
			if !reflect.DeepEqual(x, y) {
				t.Fatalf("it is not %s:\n%+v\n%+v", law, x, y)
			}
		}
		merge := ledger.MergeFacts
		ab := merge(a, b)
		same("commutative", ab, merge(b, a))
		same("associative", merge(ab, c), merge(a, merge(b, c)))
		same("idempotent", ab, merge(ab, ab))
		same("idempotent", ab, merge(ab, a))
		same("neutral to nothing", ab, merge(ab, events.PaymentFacts{}))
	})
}

// drawAnyFacts is a report that may contradict others, even of what a transaction has moved.
func drawAnyFacts(t *rapid.T) events.PaymentFacts {
	facts := drawFacts(t)
	for _, d := range facts.Disputes {
		for _, id := range sortedKeys(d.Transactions) {
			d.Transactions[id] = rapid.Int64Range(-3, 3).Draw(t, "moved")
		}
	}
	return facts
}

func TestARefundThatFailedAfterAllGivesTheCreditsBack(t *testing.T) {
	refund := func(status events.RefundStatus) step {
		return learned("pi_A", events.PaymentFacts{
			AmountRefunded: 1700,
			Refunds:        map[string]events.Refund{"re_1": {Amount: 1700, Status: status}},
		})
	}
	d := having(t, bought("A", 50, 5000), refund(events.RefundPending))
	if got := d.account.Available(d.now); got != 33 {
		t.Errorf("%d are available after the refund, want 33", got)
	}
	d.moves(t, refund(events.RefundFailed),
		"issued/paid → user/u/A 17 CREDIT", "deferred/A → stripe/pending 1700 INR")
	d.moves(t, refund(events.RefundSucceeded)) // an older report: nothing goes back on it
}

func TestALostDisputeThatIsPartlyReinstatedTakesTheRest(t *testing.T) {
	having(t, bought("A", 50, 5000), withdrawn("A", 5000)).moves(t,
		disputed("A", 5000, "txn_part", 2000),
		"issued/paid → user/u/A 20 CREDIT", "deferred/A → stripe/pending 2000 INR")
}

func TestTheDebtOfOnePaymentIsPaidByTheExpiredCreditsOfAnother(t *testing.T) {
	having(t, bought("A", 50, 5000), spent(50, "calls"), boughtUntil("B", 30, 3000, 9), days(9), expired("B")).
		moves(t, withdrawn("A", 2000),
			"expired/paid → user/u/debt 20 CREDIT", "user/u/debt → issued/paid 20 CREDIT",
			"revenue/recovered → revenue/breakage 2000 INR", "stripe/pending → disputes 2000 INR")
}

// drawReports are some reports on one payment.
func drawReports(t *rapid.T, most int) []step {
	reports := rapid.SliceOfN(rapid.Custom(drawFacts), 1, most).Draw(t, "reports")
	if len(reports) < most && rapid.Bool().Draw(t, "repeated") {
		reports = append(reports, reports[0])
	}
	var steps []step
	for _, r := range reports {
		steps = append(steps, learned("pi_A", r))
	}
	return steps
}

// accepted is which credits were spent, of which lots.
func (d *teller) accepted() string {
	var spends []string
	for _, e := range d.log {
		if _, ok := e.Data.(events.CreditsDeducted); !ok {
			continue
		}
		for _, m := range e.Moves {
			if m.Asset == events.Credit {
				spends = append(spends, fmt.Sprintf("%s %d", m.From, m.Amount))
			}
		}
	}
	return strings.Join(spends, ", ")
}

func sameAccount(t *rapid.T, order []int, got, want *teller) {
	if !maps.Equal(got.balances, want.balances) {
		t.Fatalf("in the order %v the balances are\n%v\nin the first\n%v", order, got.balances, want.balances)
	}
	if !reflect.DeepEqual(got.account, want.account) {
		t.Fatalf("in the order %v the account is\n%s\nin the first\n%s",
			order, inJSON(got.account), inJSON(want.account))
	}
}

func inJSON(v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// permutations are all orders of n things.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, shorter := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(shorter), at, n-1))
		}
	}
	return all
}

package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/ledger"
)

// holder is the one user whose account these tests are about.
const holder = "u"

var opening = time.Date(2025, 1, 3, 9, 0, 0, 0, time.UTC)

// A teller runs decisions on one account and folds their events, as the writer does.
type teller struct {
	account  ledger.Account
	now      time.Time
	balances balances
	log      []events.Event
}

// balances are what all moves so far come to, without those that are zero.
type balances map[line]int64

type line struct {
	account events.Account
	asset   events.Asset
}

func (b balances) add(account events.Account, asset events.Asset, amount int64) {
	at := line{account, asset}
	if b[at] += amount; b[at] == 0 {
		delete(b, at)
	}
}

func newTeller() *teller { return &teller{now: opening, balances: balances{}} }

// A step is one command. Its error is the refusal.
type step func(*teller) error

// having is an account after some steps, none of which may be refused.
func having(t rapid.TB, steps ...step) *teller {
	t.Helper()
	d := newTeller()
	d.follow(t, steps...)
	return d
}

// follow runs some steps, none of which may be refused.
func (d *teller) follow(t rapid.TB, steps ...step) {
	t.Helper()
	for i, s := range steps {
		if err := s(d); err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
	}
}

// moves checks what a step moves, each move as `from → to amount asset`.
func (d *teller) moves(t *testing.T, s step, want ...string) {
	t.Helper()
	if err := s(d); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range d.log[len(d.log)-1].Moves {
		got = append(got, fmt.Sprintf("%s → %s %d %s", m.From, m.To, m.Amount, m.Asset))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("it moves\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// refuses checks that a step is refused with a code, and gives the refusal.
func (d *teller) refuses(t *testing.T, s step, code string) *ledger.Refusal {
	t.Helper()
	err := s(d)
	var refusal *ledger.Refusal
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Fatalf("it answers %v, want a refusal %s", err, code)
	}
	return refusal
}

// book makes an event of what was decided and folds it.
func (d *teller) book(effect ledger.Effect, err error, data events.Payload) error {
	if err != nil {
		return err
	}
	e := events.Event{
		Position: uint64(len(d.log) + 1), Time: d.now, Effective: d.now, Moves: effect.Moves, Data: data,
	}
	d.log = append(d.log, e)
	for _, m := range e.Moves {
		d.balances.add(m.From, m.Asset, -m.Amount)
		d.balances.add(m.To, m.Asset, m.Amount)
	}
	for _, key := range ledger.Accounts.Keys(e) {
		if key == holder {
			d.account, _ = ledger.Accounts.Evolve(d.account, key, e)
		}
	}
	return nil
}

// bought grants credits for a price in INR, paid by the intent `pi_<lot>`.
func bought(lot string, credits, price int64) step { return boughtWithTax(lot, credits, price, 0) }

func boughtWithTax(lot string, credits, price, tax int64) step {
	return granted(events.Lot{
		ID: lot, Kind: events.Paid, Credits: credits, Price: price, Tax: tax, Currency: events.INR,
		Payment: "pi_" + lot,
	})
}

func boughtUntil(lot string, credits, price int64, days int) step {
	return granted(events.Lot{
		ID: lot, Kind: events.Paid, Credits: credits, Price: price, Currency: events.INR,
		Payment: "pi_" + lot, ExpiresAt: opening.AddDate(0, 0, days),
	})
}

func given(lot string, credits int64) step {
	return granted(events.Lot{ID: lot, Kind: events.Promotional, Credits: credits})
}

func givenUntil(lot string, credits int64, days int) step {
	return granted(events.Lot{
		ID: lot, Kind: events.Promotional, Credits: credits, ExpiresAt: opening.AddDate(0, 0, days),
	})
}

// granted adds a lot: a bonus at signing up if it is promotional, else a payment.
func granted(lot events.Lot) step {
	return func(d *teller) error {
		e, err := d.account.Grant(holder, lot, d.now)
		if lot.Kind == events.Promotional {
			return d.book(e, err, events.UserSignedUp{User: holder, Bonus: &lot, Available: e.Available})
		}
		return d.book(e, err, events.PaymentGranted{
			User: holder, Intent: lot.Payment, Lot: lot, Available: e.Available,
		})
	}
}

func spent(credits int64, use string) step {
	return func(d *teller) error {
		e, err := d.account.Spend(credits, use, d.now)
		return d.book(e, err, events.CreditsDeducted{User: holder, Credits: credits, Available: e.Available})
	}
}

// reserved sets credits aside for an hour.
func reserved(hold string, credits int64) step {
	return func(d *teller) error {
		expires := d.now.Add(time.Hour)
		e, err := d.account.Reserve(hold, credits, ledger.UseCalls, expires, d.now)
		return d.book(e, err, events.CreditsReserved{
			User: holder, Hold: hold, Credits: credits, Use: ledger.UseCalls, ExpiresAt: expires,
			Available: e.Available,
		})
	}
}

func captured(hold string, credits int64) step {
	return func(d *teller) error {
		e, err := d.account.Capture(hold, credits, d.now)
		return d.book(e, err, events.HoldCaptured{
			User: holder, Hold: hold, Credits: credits, Available: e.Available,
		})
	}
}

func released(hold string) step {
	return func(d *teller) error {
		e, err := d.account.Release(hold, d.now)
		return d.book(e, err, events.HoldReleased{User: holder, Hold: hold, Available: e.Available})
	}
}

// undone undoes the event of a position.
func undone(position int) step {
	return func(d *teller) error {
		e, credits, err := d.account.Undo(d.log[position-1], d.now)
		return d.book(e, err, events.SpendUndone{
			User: holder, Undoes: uint64(position), Credits: credits, Available: e.Available, Lots: e.Lots,
		})
	}
}

func expired(lot string) step {
	return func(d *teller) error {
		e, credits, err := d.account.ExpireLot(lot, d.now)
		return d.book(e, err, events.LotExpired{
			User: holder, Lot: lot, Credits: credits, Available: e.Available,
		})
	}
}

func learned(intent string, facts events.PaymentFacts) step {
	return func(d *teller) error {
		e, err := d.account.Learn(holder, intent, facts, d.now)
		return d.book(e, err, events.PaymentFactsLearned{
			User: holder, Intent: intent, Facts: facts, Available: e.Available,
		})
	}
}

// refunded is a refund of a lot's payment that succeeded.
func refunded(lot string, amount int64) step {
	return learned("pi_"+lot, events.PaymentFacts{Refunds: map[string]events.Refund{
		fmt.Sprintf("re_%s_%d", lot, amount): {Amount: amount, Status: events.RefundSucceeded},
	}})
}

// withdrawn is money that a dispute took; reinstated is all of it given back.
func withdrawn(lot string, amount int64) step  { return disputed(lot, amount, "txn_out", -amount) }
func reinstated(lot string, amount int64) step { return disputed(lot, amount, "txn_in", amount) }

func disputed(lot string, amount int64, transaction string, moved int64) step {
	return learned("pi_"+lot, events.PaymentFacts{Disputes: map[string]events.Dispute{
		"dp_" + lot: {Amount: amount, Transactions: map[string]int64{transaction: moved}},
	}})
}

func forgiven(credits int64) step {
	return func(d *teller) error {
		e, err := d.account.Forgive(credits, d.now)
		return d.book(e, err, events.DebtForgiven{User: holder, Credits: credits, Available: e.Available})
	}
}

// days lets time pass.
func days(n int) step {
	return func(d *teller) error {
		d.now = d.now.AddDate(0, 0, n)
		return nil
	}
}

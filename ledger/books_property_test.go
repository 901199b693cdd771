package ledger_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/ledger"
)

func TestEveryMoveIsValidAndEveryAssetSumsToZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := eachStep(t, func(*rapid.T, *history) {})
		for _, e := range h.log {
			for _, m := range e.Moves {
				if err := m.Validate(); err != nil {
					t.Fatal(err)
				}
			}
		}
		sums := map[events.Asset]int64{}
		for at, amount := range h.balances {
			sums[at.asset] += amount
		}
		for asset, sum := range sums {
			if sum != 0 {
				t.Fatalf("%s sums to %d", asset, sum)
			}
		}
	})
}

func TestFoldedMovesAreThePositionsOfTheFactsAfterEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			if want := h.model.balances(); !maps.Equal(h.balances, want) {
				t.Fatalf("after %s the moves come to\n%v\nthe facts to\n%v", h.doing, h.balances, want)
			}
		})
	})
}

func TestEveryCreditOfALotIsInOnePlaceAndNoneIsBelowZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			for _, l := range h.account.Lots {
				free := h.balances.credits(events.LotOf(holder, l.ID))
				if l.Expired {
					free = l.Credits - spentOf(l) - l.Held - l.Taken - l.Covers
				}
				for _, term := range []int64{spentOf(l), l.Held, l.Taken, l.Covers, l.Deficit, free} {
					if term < 0 {
						t.Fatalf("after %s a term of %+v is below zero", h.doing, *l)
					}
				}
				if sum := spentOf(l) + l.Held + l.Taken + l.Covers + free; sum != l.Credits {
					t.Fatalf("after %s the terms of %+v sum to %d", h.doing, *l, sum)
				}
			}
		})
	})
}

func TestPromotionalCreditsCloseAmongThemselvesAndPaidOnesWithDebt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			kinds := h.kinds()
			sums := map[events.CreditKind]int64{}
			for at, amount := range h.balances {
				if at.asset == events.Credit {
					sums[kindOf(at.account, kinds)] += amount
				}
			}
			if sums[events.Promotional] != 0 || sums[events.Paid] != 0 {
				t.Fatalf("after %s they sum to %v", h.doing, sums)
			}
			for _, e := range h.log {
				for _, m := range e.Moves {
					if m.Asset == events.Credit && kindOf(m.From, kinds) != kindOf(m.To, kinds) {
						t.Fatalf("a move mixes the kinds: %+v", m)
					}
				}
			}
		})
	})
}

func TestWhileThereIsADebtNoPaidCreditIsFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			if h.account.Debt() == 0 {
				return
			}
			for _, l := range h.model.lots {
				if free := h.balances.credits(events.LotOf(holder, l.ID)); l.Kind == events.Paid && free > 0 {
					t.Fatalf("after %s %d credits of %s are free", h.doing, free, l.ID)
				}
			}
		})
	})
}

func TestADebtGrowsOnlyByATakingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			before, after := h.before.Debt(), h.account.Debt()
			if after < 0 {
				t.Fatalf("after %s the debt is %d", h.doing, after)
			}
			known := h.doing == "grant" // a lot may come after the facts that take it back
			if after > before && h.doing != "learn" && !known {
				t.Fatalf("%s raises the debt from %d to %d", h.doing, before, after)
			}
		})
	})
}

func TestDeferredRevenueIsWhatTheUserCanStillUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			lots, _, _ := h.model.settle()
			for l, x := range lots {
				s := l.spentInAll()
				want := l.worth(s) - l.worth(l.Credits-x.taken-x.covers)
				if l.expired {
					want = l.worth(s) - l.worth(s+l.held)
				}
				got := h.balances[line{events.Deferred(l.ID), l.Currency}]
				if got != want || got > 0 {
					t.Fatalf("after %s deferred/%s is %d, want %d", h.doing, l.ID, got, want)
				}
				if closed := l.held == 0 && (x.free == 0 || l.expired); closed && got != 0 {
					t.Fatalf("after %s deferred/%s is %d, and nothing of it is left", h.doing, l.ID, got)
				}
			}
		})
	})
}

func TestWhatALotEarnedOverAllUsesFollowsFromWhatWasSpent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			for _, l := range h.account.Lots {
				var earned int64
				for _, u := range l.Uses {
					earned += u.Earned
				}
				if want := share(l.Price, spentOf(l), l.Credits); earned != want {
					t.Fatalf("after %s lot %s has earned %d, want %d", h.doing, l.ID, earned, want)
				}
			}
		})
	})
}

func TestWhenAllLotsAreClosedEachMinorUnitIsAccountedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := eachStep(t, func(*rapid.T, *history) {})
		h.close(t)
		paidIn := map[events.Asset]int64{}
		for _, l := range h.model.lots {
			if l.Kind == events.Paid {
				refunded, disputed := h.model.moneyBack(l.Payment)
				paidIn[l.Currency] += l.Price + l.Tax - refunded - disputed
			}
		}
		kept := map[events.Asset]int64{}
		for at, amount := range h.balances {
			switch root, _, _ := strings.Cut(string(at.account), "/"); root {
			case "revenue", "refunds", "disputes", "tax":
				kept[at.asset] -= amount
			case "deferred":
				t.Fatalf("%s still holds %d", at.account, amount)
			}
		}
		for _, currency := range events.Currencies {
			if kept[currency] != paidIn[currency] {
				t.Fatalf("%d %s were kept, %d came in", kept[currency], currency, paidIn[currency])
			}
		}
	})
}

func TestTaxPayableIsTheTaxOfWhatWasNotRefunded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			want := map[events.Asset]int64{}
			for _, l := range h.model.lots {
				gross := l.Price + l.Tax
				refunded, _ := h.model.moneyBack(l.Payment)
				want[l.Currency] += l.Tax - share(l.Tax, min(refunded, gross), gross)
			}
			for _, currency := range events.Currencies {
				if got := -h.balances[line{events.TaxPayable, currency}]; got != want[currency] {
					t.Fatalf("after %s %d %s of tax are payable, want %d", h.doing, got, currency, want[currency])
				}
			}
		})
	})
}

func TestWhatAnEventSaysIsAvailableIsAvailable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			available, _ := h.model.available(h.now)
			if got := h.account.Available(h.now); got != available {
				t.Fatalf("after %s %d are available, want %d", h.doing, got, available)
			}
			if h.refusal != nil || len(h.log) == 0 || h.doing == "wait" {
				return
			}
			said, ok := h.log[len(h.log)-1].Data.(interface{ Leaves() (string, int64) })
			if !ok {
				t.Fatalf("%T does not say what it leaves", h.log[len(h.log)-1].Data)
			}
			if _, got := said.Leaves(); got != available && h.log[len(h.log)-1].Time.Equal(h.now) {
				t.Fatalf("%s says that %d are available, want %d", h.doing, got, available)
			}
		})
	})
}

func TestAnAccountIsTheSameAfterItWasStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			body, err := json.Marshal(h.account)
			if err != nil {
				t.Fatal(err)
			}
			var read ledger.Account
			if err := json.Unmarshal(body, &read); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(read, h.account) {
				t.Fatalf("after %s %s is read as another account", h.doing, body)
			}
		})
	})
}

func TestAnAccountIsNeverChangedByWhatFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var accounts []ledger.Account
		var asTheyWere []string
		keep := func(t *rapid.T, h *history) {
			body, err := json.Marshal(h.account)
			if err != nil {
				t.Fatal(err)
			}
			accounts, asTheyWere = append(accounts, h.account), append(asTheyWere, string(body))
		}
		eachStep(t, keep)
		for i, a := range accounts {
			body, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			if string(body) != asTheyWere[i] {
				t.Fatalf("account %d was\n%s\nand is now\n%s", i, asTheyWere[i], body)
			}
		}
	})
}

func TestTwoFuturesOfOneAccountDoNotMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eachStep(t, func(t *rapid.T, h *history) {
			happened, err := json.Marshal(h.account)
			if err != nil {
				t.Fatal(err)
			}
			other := &teller{account: h.before, now: h.now, balances: balances{}, log: slices.Clone(h.log)}
			instead := rapid.SampledFrom([]step{
				given("other", 5), bought("other", 5, 500), spent(1, ledger.UseOther), reserved("other", 1),
				forgiven(1), undone(max(1, len(h.log)-1)), learned(intents[0], drawFacts(t)),
			}).Draw(t, "instead")
			if len(h.log) > 0 {
				_ = instead(other) // a refusal changes nothing, which is as good here
			}
			if after, err := json.Marshal(h.account); err != nil || string(after) != string(happened) {
				t.Fatalf("%v: the account was\n%s\nand is now\n%s", err, happened, after)
			}
		})
	})
}

// credits is what an account holds of them.
func (b balances) credits(account events.Account) int64 { return b[line{account, events.Credit}] }

func spentOf(l *ledger.LotState) int64 {
	var credits int64
	for _, u := range l.Uses {
		credits += u.Credits
	}
	return credits
}

// kinds are the kinds of all lots, by their ids.
func (h *history) kinds() map[string]events.CreditKind {
	kinds := map[string]events.CreditKind{}
	for _, l := range h.model.lots {
		kinds[l.ID] = l.Kind
	}
	return kinds
}

// kindOf tells which kind of credits an account is for; a debt is of paid ones.
func kindOf(account events.Account, lots map[string]events.CreditKind) events.CreditKind {
	parts := strings.Split(string(account), "/")
	switch parts[0] {
	case "user":
		if kind, ok := lots[parts[2]]; ok {
			return kind
		}
	case "issued", "spent", "expired":
		return events.CreditKind(parts[1])
	}
	return events.Paid
}

// close releases all holds and spends all that is there.
func (h *history) close(t *rapid.T) {
	for _, id := range sortedKeys(h.model.holds) {
		if err := released(id)(h.teller); err != nil {
			t.Fatal(err)
		}
		h.model.end(id)
	}
	for _, l := range h.model.lots {
		if !l.expired && !l.ExpiresAt.IsZero() {
			h.now = latest(h.now, l.ExpiresAt)
			if err := expired(l.ID)(h.teller); err != nil {
				t.Fatal(err)
			}
			l.expired = true
		}
	}
	if credits := h.account.Available(h.now); credits > 0 {
		if err := spent(credits, ledger.UseOther)(h.teller); err != nil {
			t.Fatal(err)
		}
	}
}

package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"truebond/events"
)

// buyerOf is a user who has bought so often, each time the most that there is to sell.
func buyerOf(n int) Account {
	a := Account{User: strings.Repeat("u", 36)}
	for i := range n {
		a.Lots = append(a.Lots, &LotState{Lot: events.Lot{
			ID: fmt.Sprintf("lot_%032d", i), Kind: events.Paid, Credits: packageMax, Price: packageCostMax,
			Currency: events.INR, Payment: fmt.Sprintf("pi_%061d", i),
		}})
	}
	return a
}

func TestTheLargestAccountFitsIntoADocument(t *testing.T) {
	const documentMax = 4 << 20 // of a store
	a := buyerOf(lotsMax)
	for _, l := range a.Lots {
		l.Tax, l.ExpiresAt, l.Expired = packageCostMax, morning, true
		for _, use := range []string{UseMessages, UseCalls, UseOther} {
			l.Uses = append(l.Uses, LotUse{Use: use, Credits: packageMax, Earned: packageCostMax})
		}
		l.Held, l.Taken, l.Deficit, l.Covers = packageMax, packageMax, packageMax, packageMax
	}
	body, err := json.Marshal(a)
	if err != nil || len(body) > documentMax {
		t.Errorf("an account of %d lots has %d bytes: %v", lotsMax, len(body), err)
	}
}

func TestWhoHasBoughtTooOftenBuysNoMore(t *testing.T) {
	s := given(t, open, signedUp("ann"), intended("pi_1"))
	s.docs[Ref{Accounts.Name, "ann"}] = buyerOf(lotsWishedMax)
	s.when(IntendPayment(wish(t, "pi_2"))).refused(CodeTooManyLots)
	s.when(ConfirmPayment(paid("pi_1"))).then(granted("pi_1", lotsWishedMax*packageMax+50))
}

// The money is there: it is not refused, and somebody gives it back.
func TestMoneyForAnAccountWithoutRoomIsNoted(t *testing.T) {
	s := given(t, open, signedUp("ann"), intended("pi_1"))
	s.docs[Ref{Accounts.Name, "ann"}] = buyerOf(lotsMax)
	s.when(ConfirmPayment(paid("pi_1"))).moving().then(events.PaymentMismatched{
		User: "ann", Intent: "pi_1", StripeEvent: "evt_1", StripeType: "payment_intent.succeeded",
		Amount: 5000, Currency: "INR", Why: "the user has bought too often to be granted more",
	})
}

func TestACallEndsWhoseMinuteTakesFromMoreLotsThanItsEventHasRoomFor(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), rang("c", "ann", "bob"))
	dear := menu
	dear.Version, dear.AudioMinute = 2, partsMax+1
	a := buyerOf(partsMax + 1)
	for _, l := range a.Lots {
		l.Credits = 1
	}
	s.docs[Ref{Accounts.Name, "ann"}] = a
	s.and(did(SetPrices(dear))).when(AcceptCall("c", "bob")).moving().then(ended("", events.OutOfCredits, 0, 0))
}

func TestAnAccountHoldsNoMoreLotsThanItHasRoomFor(t *testing.T) {
	gift := events.Lot{ID: "gift", Kind: events.Promotional, Credits: 1}
	if _, err := buyerOf(lotsMax-1).Grant("ann", gift, morning); err != nil {
		t.Errorf("the last one is answered with %v", err)
	}
	if _, err := buyerOf(lotsMax).Grant("ann", gift, morning); !isRefused(err, CodeTooManyLots) {
		t.Errorf("one too many is answered with %v", err)
	}
}

func TestAChargeTakesFromNoMoreLotsThanItsEventHasRoomFor(t *testing.T) {
	a := buyerOf(partsMax + 1)
	for _, l := range a.Lots {
		l.Credits = 1
	}
	if _, err := a.Spend(partsMax+1, UseOther, morning); !isRefused(err, CodeTooManyLots) {
		t.Errorf("a charge of %d lots is answered with %v", partsMax+1, err)
	}
	effect, err := a.Spend(partsMax, UseOther, morning)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := codec.Encode(events.Event{
		Position: 1, Key: "api/app/key/1", Time: morning, Effective: morning, Actor: events.System, Moves: effect.Moves,
		Data: events.CreditsDeducted{User: a.User, Credits: partsMax, Reason: strings.Repeat("é", ReasonMax)},
	}); err != nil {
		t.Error(err)
	}
}

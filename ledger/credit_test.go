package ledger

import (
	"strings"
	"testing"
	"time"

	"truebond/events"
)

// held is credits of ann's that are set aside for calls, for a day.
func held(hold string, credits int64) step {
	return func(s *scene) {
		s.t.Helper()
		s.and(did(ReserveCredits(aside(hold, credits, s.now))))
	}
}

func aside(hold string, credits int64, now time.Time) NewHold {
	return NewHold{Hold: hold, User: "ann", Credits: credits, Use: UseCalls, ExpiresAt: now.Add(24 * time.Hour)}
}

// refundedWhole is a payment of ann's whose money went back.
func refundedWhole(intent string) step {
	return did(LearnPaymentFacts(Announcement{StripeEvent: "evt_r", Intent: intent},
		events.PaymentFacts{AmountRefunded: 5000}))
}

func TestAServerOfTheAppsChargesAUser(t *testing.T) {
	given(t, open, signedUp("ann"), bought("pi_1")).when(DeductCredits("ann", 12, "a gift")).
		moving(
			events.Move{From: "user/ann/ann-bonus", To: "spent/promotional/other", Asset: events.Credit, Amount: 10},
			events.Move{From: "user/ann/lot of pi_1", To: "spent/paid/other", Asset: events.Credit, Amount: 2},
			events.Move{From: "revenue/other", To: "deferred/lot of pi_1", Asset: events.INR, Amount: 200},
		).
		then(events.CreditsDeducted{User: "ann", Credits: 12, Reason: "a gift", Available: 48}).has("ann", 48)
}

func TestAChargeIsRefused(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), erased("bob"))
	s.when(DeductCredits("ann", 11, "a gift")).refused(CodeInsufficientCredits)
	s.when(DeductCredits("bob", 1, "a gift")).refused(CodeUnknownUser, "user_id")
	s.when(DeductCredits("cat", 1, "a gift")).refused(CodeUnknownUser, "user_id")
	for _, credits := range []int64{-1, 0, 1_000_001} {
		s.when(DeductCredits("ann", credits, "a gift")).refused(CodeInvalidRequest, "credits")
	}
	for _, reason := range []string{"", strings.Repeat("é", 201)} {
		s.when(DeductCredits("ann", 1, reason)).refused(CodeInvalidRequest, "reason")
	}
	s.and(did(DeductCredits("ann", 1, strings.Repeat("é", 200))), did(DeductCredits("ann", 1, "x")))
	s.when(DeductCredits("ann", 1_000_000, "a gift")).refused(CodeInsufficientCredits)
}

func TestAHoldSetsCreditsAside(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), erased("bob"))
	expires := morning.Add(24 * time.Hour)
	after := s.when(ReserveCredits(aside("h", 7, s.now))).then(events.CreditsReserved{
		User: "ann", Hold: "h", Credits: 7, Use: UseCalls, ExpiresAt: expires, Available: 3,
	}).has("ann", 3)
	after.when(ReserveCredits(aside("h", 1, s.now))).refused(CodeHoldExists, "hold")
	after.when(ReserveCredits(aside("h2", 4, s.now))).refused(CodeInsufficientCredits)

	for _, expires := range []time.Time{s.now, s.now.Add(30*24*time.Hour + time.Millisecond)} {
		wish := aside("h", 7, s.now)
		wish.ExpiresAt = expires
		s.when(ReserveCredits(wish)).refused(CodeInvalidRequest, "expires_at")
	}
	gone := aside("h", 7, s.now)
	gone.User = "bob"
	s.when(ReserveCredits(gone)).refused(CodeUnknownUser, "user_id")
}

func TestAHoldIsCapturedReleasedOrExpiresButOnce(t *testing.T) {
	s := given(t, open, signedUp("ann"), held("h", 7))
	s.when(CaptureHold("ann", "h", 8)).refused(CodeHoldTooSmall, "credits")
	s.when(ExpireHold("ann", "h")).refused(CodeNotDue)
	for name, after := range map[string]*scene{
		"captured": s.when(CaptureHold("ann", "h", 5)).
			then(events.HoldCaptured{User: "ann", Hold: "h", Credits: 5, Available: 5}).has("ann", 5),
		"released": s.when(ReleaseHold("ann", "h")).
			then(events.HoldReleased{User: "ann", Hold: "h", Available: 10}).has("ann", 10),
		"expired": s.and(later(24*time.Hour)).when(ExpireHold("ann", "h")).
			then(events.HoldReleased{User: "ann", Hold: "h", Expired: true, Available: 10}).has("ann", 10),
	} {
		t.Run(name, func(t *testing.T) {
			after.when(CaptureHold("ann", "h", 1)).refused(CodeHoldNotFound, "hold")
			after.when(ReleaseHold("ann", "h")).refused(CodeHoldNotFound, "hold")
			after.when(ExpireHold("ann", "h")).refused(CodeHoldNotFound, "hold")
		})
	}
	s.when(CaptureHold("ann", "h", 5)).refused(CodeHoldExpired, "hold")
}

func TestASpendIsUndoneOnceIntoItsOwnLots(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), wrote("m1", "ann", "bob"))
	sent := s.log[len(s.log)-1]
	after := s.when(UndoSpend(sent, "lost on the way")).
		moving(events.Move{
			From: "spent/promotional/messages", To: "user/ann/ann-bonus", Asset: events.Credit, Amount: 1,
		}).
		then(events.SpendUndone{
			User: "ann", Undoes: sent.Position, Credits: 1, Reason: "lost on the way", Available: 10,
			Lots: []events.LotShare{{Lot: "ann-bonus", Use: UseMessages, Credits: 1}},
		}).has("ann", 10)
	after.when(UndoSpend(sent, "again")).refused(CodeAlreadyUndone)

	s.when(UndoSpend(sent, "")).refused(CodeInvalidRequest, "reason")
	s.when(UndoSpend(s.log[2], "a sign-up")).refused(CodeNothingToUndo)
	s.when(UndoSpend(events.Event{Position: 99}, "nothing")).refused(CodeNothingToUndo)
}

func TestALotExpiresWhenItsTimeIsOver(t *testing.T) {
	bonus := events.Lot{
		ID: "ann-bonus", Kind: events.Promotional, Credits: 10, ExpiresAt: morning.Add(24 * time.Hour),
	}
	s := given(t, open)
	s.apply(events.UserSignedUp{User: "ann", Bonus: &bonus}, []events.Move{
		{From: "issued/promotional", To: "user/ann/ann-bonus", Asset: events.Credit, Amount: 10},
	})
	s.and(bought("pi_1")).when(ExpireLot("ann", "ann-bonus")).refused(CodeLotNotExpired, "lot")
	s.when(ExpireLot("ann", "another")).refused(CodeLotNotFound, "lot")
	s.and(later(24*time.Hour)).when(ExpireLot("ann", "ann-bonus")).
		moving(events.Move{
			From: "user/ann/ann-bonus", To: "expired/promotional", Asset: events.Credit, Amount: 10,
		}).
		then(events.LotExpired{User: "ann", Lot: "ann-bonus", Credits: 10, Available: 50}).has("ann", 50).
		when(ExpireLot("ann", "ann-bonus")).refused(CodeLotNotFound, "lot")
}

func TestADebtCanBeForgiven(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), bought("pi_1"), spentAllBut("ann", 5), refundedWhole("pi_1")).
		has("ann", 0)
	s.when(hello("m1", "ann", "bob")).refused(CodeInsufficientCredits)
	s.when(ForgiveDebt("ann", 45, "")).refused(CodeInvalidRequest, "reason")
	s.when(ForgiveDebt("ann", 46, "a mistake of ours")).refused(CodeNoSuchDebt, "credits")
	s.apply(events.UserSignedUp{User: "ann", Bonus: &events.Lot{ID: "more", Kind: events.Promotional, Credits: 3}},
		[]events.Move{{From: "issued/promotional", To: "user/ann/more", Asset: events.Credit, Amount: 3}})
	s.has("ann", 0).when(ForgiveDebt("ann", 45, "a mistake of ours")).
		moving(events.Move{From: "forgiven", To: "user/ann/debt", Asset: events.Credit, Amount: 45}).
		then(events.DebtForgiven{User: "ann", Credits: 45, Reason: "a mistake of ours", Available: 3}).has("ann", 3)
}

package ledger

import (
	"reflect"
	"testing"
	"time"

	"truebond/events"
)

func ringing(id, from, to string, kind events.CallKind) Decision {
	return InitiateCall(NewCall{Call: id, From: from, To: to, Kind: kind})
}

// rang is an audio call that has begun to ring.
func rang(id, from, to string) step { return did(ringing(id, from, to, events.AudioCall)) }

// accepted is an audio call that was answered at once.
func accepted(id, from, to string) step {
	return func(s *scene) {
		s.t.Helper()
		s.and(rang(id, from, to), did(AcceptCall(id, to)))
	}
}

// talked is a minute of the call c that has passed and whose next one was charged.
func talked(n int) step {
	return func(s *scene) {
		s.t.Helper()
		s.and(later(time.Minute), did(ChargeCall("c", n)))
	}
}

func ended(by string, why events.CallEndReason, seconds, charged int64) events.CallEnded {
	return events.CallEnded{
		Call: "c", From: "ann", To: "bob", By: by, Reason: why, Seconds: seconds, Charged: charged,
	}
}

// over checks that nothing more happens to the call c, and that its users are free.
func over(t *testing.T, s *scene, state CallState) {
	t.Helper()
	if got := doc(s, Calls, "c").State; got != state {
		t.Errorf("the call is %s, want %s", got, state)
	}
	for _, d := range []Decision{
		AcceptCall("c", "bob"), ChargeCall("c", 1), MissCall("c"), EndCallGone("c", "bob"),
	} {
		s.when(d).refused(CodeCallOver)
	}
	s.when(EndCall("c", "ann")).refused(CodeNothingToDo)
	s.when(EndCall("c", "bob")).refused(CodeNothingToDo)
	s.and(signedUp("zoe", "zac"), rang("d", "zoe", "bob"), rang("e", "zac", "ann"))
}

func TestACallRingsFor45SecondsAndCostsNothing(t *testing.T) {
	for kind, price := range map[events.CallKind]int64{events.AudioCall: 5, events.VideoCall: 10} {
		given(t, open, signedUp("ann", "bob")).when(ringing("c", "ann", "bob", kind)).moving().
			then(events.CallInitiated{
				Call: "c", Kind: kind, From: "ann", To: "bob", PricePerMinute: price,
				RingsUntil: morning.Add(45 * time.Second),
			}).has("ann", 10)
	}
}

func TestACallIsNotMade(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat", "dan"), erased("dan"))
	t.Run("of another kind", func(t *testing.T) {
		s.when(ringing("c", "ann", "bob", "hologram")).refused(CodeInvalidRequest, "kind")
	})
	t.Run("to oneself or nobody", func(t *testing.T) {
		s.when(ringing("c", "ann", "ann", events.AudioCall)).refused(CodeInvalidRequest, "to")
		s.when(ringing("c", "ann", "dan", events.AudioCall)).refused(CodeUnknownUser, "to")
		s.when(ringing("c", "ann", "eve", events.AudioCall)).refused(CodeUnknownUser, "to")
		s.when(ringing("c", "dan", "ann", events.AudioCall)).refused(CodeUnknownUser)
	})
	t.Run("when either has blocked the other, who may be busy or not", func(t *testing.T) {
		s := given(t, open, signedUp("ann", "bob", "cat"), blocked("ann", "bob"), rang("x", "ann", "cat"))
		s.when(ringing("c", "ann", "bob", events.AudioCall)).refused(CodeBlocked)
		s.when(ringing("c", "bob", "ann", events.AudioCall)).refused(CodeBlocked)
	})
	t.Run("when either is in a call", func(t *testing.T) {
		for _, in := range []step{rang("x", "bob", "cat"), rang("x", "cat", "bob"), accepted("x", "cat", "bob")} {
			s := given(t, open, signedUp("ann", "bob", "cat"), in)
			s.when(ringing("c", "ann", "bob", events.AudioCall)).refused(CodeBusy)
			s.when(ringing("c", "bob", "ann", events.AudioCall)).refused(CodeBusy)
		}
	})
	t.Run("by who cannot pay the first minute", func(t *testing.T) {
		s := given(t, open, signedUp("ann", "bob"), spentAllBut("ann", 9))
		s.when(ringing("c", "ann", "bob", events.VideoCall)).refused(CodeInsufficientCredits)
		s.and(rang("c", "ann", "bob"))
	})
	t.Run("before there are prices", func(t *testing.T) {
		s := given(t, open, signedUp("ann", "bob"))
		delete(s.docs, Ref{Prices.Name, Current})
		s.when(ringing("c", "ann", "bob", events.AudioCall)).refused(CodePricesUnset)
	})
}

func TestAcceptingACallChargesItsFirstMinuteAtTodaysPrice(t *testing.T) {
	dearer := menu
	dearer.Version, dearer.AudioMinute = 2, 6
	third := dearer
	third.Version, third.AudioMinute = 3, 1
	s := given(t, open, signedUp("ann", "bob"), bought("pi_1"), rang("c", "ann", "bob"), did(SetPrices(dearer))).
		when(AcceptCall("c", "bob")).
		moving(events.Move{
			From: "user/ann/ann-bonus", To: "spent/promotional/calls", Asset: events.Credit, Amount: 6,
		}).
		then(events.CallAccepted{
			Call: "c", From: "ann", To: "bob", PricePerMinute: 6, Charged: 6, Available: 54,
		}).has("ann", 54).has("bob", 10)
	// The price stays as it was when the call was accepted.
	s.and(did(SetPrices(third)), later(time.Minute)).when(ChargeCall("c", 1)).
		then(events.CallCharged{Call: "c", From: "ann", To: "bob", Interval: 1, Charged: 6, Available: 48})
}

func TestOnlyTheCalleeAcceptsAndOnlyWhileItRings(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), rang("c", "ann", "bob"))
	s.when(AcceptCall("c", "ann")).refused(CodeNotYours)
	s.when(AcceptCall("c", "cat")).refused(CodeNotFound)
	s.when(AcceptCall("c", "")).refused(CodeNotFound)
	s.when(AcceptCall("x", "bob")).refused(CodeNotFound)
	given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob")).
		when(AcceptCall("c", "bob")).refused(CodeNothingToDo)
	given(t, open, signedUp("ann", "bob"), rang("c", "ann", "bob"), blocked("ann", "bob")).
		when(AcceptCall("c", "bob")).refused(CodeBlocked)
	given(t, open, signedUp("ann", "bob"), rang("c", "ann", "bob"), erased("ann")).
		when(AcceptCall("c", "bob")).refused(CodeUnknownUser)
	s.and(later(45*time.Second - time.Millisecond)).when(AcceptCall("c", "bob")).
		then(events.CallAccepted{Call: "c", From: "ann", To: "bob", PricePerMinute: 5, Charged: 5, Available: 5})
	s.and(later(time.Millisecond)).when(AcceptCall("c", "bob")).refused(CodeCallOver)
}

func TestACallThatItsCallerCannotPayAnyMoreEndsWhenAccepted(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), rang("c", "ann", "bob"), spentAllBut("ann", 4)).
		when(AcceptCall("c", "bob")).moving().then(ended("", events.OutOfCredits, 0, 0)).has("ann", 4)
	over(t, s, CallEnded)
}

func TestEachMinuteIsChargedWhenItBegins(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), bought("pi_1"), accepted("c", "ann", "bob"), later(time.Minute))
	after := s.when(ChargeCall("c", 1)).
		moving(events.Move{
			From: "user/ann/ann-bonus", To: "spent/promotional/calls", Asset: events.Credit, Amount: 5,
		}).
		then(events.CallCharged{Call: "c", From: "ann", To: "bob", Interval: 1, Charged: 5, Available: 50})
	after.when(ChargeCall("c", 1)).refused(CodeCallOver)
	after.when(ChargeCall("c", 0)).refused(CodeCallOver)
	after.and(later(time.Minute)).when(ChargeCall("c", 2)).
		then(events.CallCharged{Call: "c", From: "ann", To: "bob", Interval: 2, Charged: 5, Available: 45}).
		has("ann", 45)
}

func TestNoMinuteIsChargedBeforeItBegins(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob"), later(time.Minute-time.Millisecond))
	s.when(ChargeCall("c", 1)).refused(CodeNotDue)
	s.and(later(time.Hour)).when(ChargeCall("c", 2)).refused(CodeNotDue)
	given(t, open, signedUp("ann", "bob"), rang("c", "ann", "bob")).
		when(ChargeCall("c", 0)).refused(CodeCallOver)
}

func TestAnAudioCallAt12CreditsEndsAfterTwoMinutesWith2Left(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), bought("pi_1"), spentAllBut("ann", 12),
		accepted("c", "ann", "bob"), talked(1), later(time.Minute)).
		when(ChargeCall("c", 2)).moving().
		then(ended("", events.OutOfCredits, 120, 10)).has("ann", 2)
	over(t, s, CallEnded)
}

func TestAMinuteThatIsLongOverdueEndsTheCallWithoutACharge(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), bought("pi_1"), accepted("c", "ann", "bob"), talked(1),
		later(time.Minute+15*time.Second))
	s.when(ChargeCall("c", 2)).
		then(events.CallCharged{Call: "c", From: "ann", To: "bob", Interval: 2, Charged: 5, Available: 45})
	late := given(t, open, signedUp("ann", "bob"), bought("pi_1"), accepted("c", "ann", "bob"), talked(1),
		later(time.Minute+15*time.Second+time.Millisecond)).
		when(ChargeCall("c", 2)).moving().
		then(ended("", events.ServerAway, 120, 10)).has("ann", 50)
	over(t, late, CallEnded)
}

func TestEitherHangsUp(t *testing.T) {
	for _, by := range []string{"ann", "bob"} {
		s := given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob"), talked(1),
			later(29_999*time.Millisecond)).
			when(EndCall("c", by)).moving().then(ended(by, events.HungUp, 89, 10))
		over(t, s, CallEnded)
	}
}

func TestACallIsNeverLongerThanWhatWasCharged(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob"), later(time.Hour))
	s.when(EndCall("c", "ann")).then(ended("ann", events.HungUp, 60, 5))
	s.when(EndCallGone("c", "ann")).then(ended("ann", events.PartyGone, 60, 5))
}

func TestHangingUpWhileItRingsMissesOrRejectsTheCall(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), rang("c", "ann", "bob"))
	over(t, s.when(EndCall("c", "ann")).moving().
		then(events.CallMissed{Call: "c", From: "ann", To: "bob"}), CallMissed)
	over(t, s.when(EndCall("c", "bob")).moving().
		then(events.CallRejected{Call: "c", From: "ann", To: "bob"}), CallRejected)
	s.when(EndCall("c", "cat")).refused(CodeNotFound)
	s.when(EndCall("c", "")).refused(CodeNotFound)
	s.when(EndCall("x", "")).refused(CodeNotFound)
}

func TestOnlyTheCalleeRejectsAndOnlyWhileItRings(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob", "cat"), rang("c", "ann", "bob"))
	s.when(RejectCall("c", "ann")).refused(CodeNotYours)
	s.when(RejectCall("c", "cat")).refused(CodeNotFound)
	s.when(RejectCall("x", "")).refused(CodeNotFound)
	rejected := s.when(RejectCall("c", "bob")).moving().
		then(events.CallRejected{Call: "c", From: "ann", To: "bob"})
	rejected.when(RejectCall("c", "bob")).refused(CodeNothingToDo)
	rejected.when(RejectCall("c", "ann")).refused(CodeNotYours)
	rejected.when(RejectCall("c", "cat")).refused(CodeNotFound)
	over(t, rejected, CallRejected)
	s.and(did(AcceptCall("c", "bob"))).when(RejectCall("c", "bob")).refused(CodeCallActive)
	s.and(did(EndCall("c", "bob"))).when(RejectCall("c", "bob")).refused(CodeCallOver)
}

func TestACallThatRangToItsEndIsMissed(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), rang("c", "ann", "bob"), later(45*time.Second-time.Millisecond))
	s.when(MissCall("c")).refused(CodeNotDue)
	s.when(MissCall("x")).refused(CodeCallOver)
	over(t, s.and(later(time.Millisecond)).when(MissCall("c")).moving().
		then(events.CallMissed{Call: "c", From: "ann", To: "bob"}), CallMissed)
	given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob"), later(time.Minute)).
		when(MissCall("c")).refused(CodeCallOver)
}

func TestACallEndsWhenAPartyIsGone(t *testing.T) {
	for _, gone := range []string{"ann", "bob"} {
		s := given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob"), later(20*time.Second)).
			when(EndCallGone("c", gone)).moving().then(ended(gone, events.PartyGone, 20, 5))
		over(t, s, CallEnded)
	}
	s := given(t, open, signedUp("ann", "bob", "cat"), rang("c", "ann", "bob"))
	s.when(EndCallGone("c", "bob")).refused(CodeCallOver)
	s.and(did(AcceptCall("c", "bob"))).when(EndCallGone("c", "cat")).refused(CodeNotFound)
	s.when(EndCallGone("x", "")).refused(CodeNotFound)
}

func TestACallsDocumentSaysWhatItCameTo(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), accepted("c", "ann", "bob"), talked(1), did(EndCall("c", "bob")))
	want := Call{
		ID: "c", Position: s.last - 3, Parties: []string{"ann", "bob"}, InitiatedAt: morning, EndedAt: s.now,
		Kind: events.AudioCall, From: "ann", To: "bob", State: CallEnded, PricePerMinute: 5,
		RingsUntil: morning.Add(45 * time.Second), AcceptedAt: morning, Intervals: 2, Charged: 10, Seconds: 60,
		EndReason: events.HungUp, EndedBy: "bob",
	}
	if got := doc(s, Calls, "c"); !reflect.DeepEqual(got, want) {
		t.Errorf("the call is %+v\nwant        %+v", got, want)
	}
}

package ledger

import (
	"testing"
	"time"

	"truebond/events"
)

const month = 30 * 24 * time.Hour

func TestLoggingInStartsASession(t *testing.T) {
	s := given(t, open, signedUp("ann", "bob"), erased("bob"))
	second := events.Session{ID: "ses_2", RefreshHash: "other", ExpiresAt: morning.Add(month)}
	s.when(StartSession("ann", second)).then(events.SessionStarted{User: "ann", Session: second})
	s.when(StartSession("bob", second)).refused(CodeUnknownUser)
	s.when(StartSession("nobody", second)).refused(CodeUnknownUser)
}

func TestARefreshTokenIsGoodOnce(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	after := s.when(RefreshSession("token 1", session("ann", 2), morning)).
		then(events.SessionRefreshed{User: "ann", Session: session("ann", 2)})

	after.when(RefreshSession("token 2", session("ann", 3), morning)).
		then(events.SessionRefreshed{User: "ann", Session: session("ann", 3)})

	long := session("ann", 3)
	long.ExpiresAt = morning.Add(2 * month)
	longer := after.when(RefreshSession("token 2", long, morning)).
		then(events.SessionRefreshed{User: "ann", Session: long})
	if !doc(longer, Sessions, "ses_ann").Live(morning.Add(month)) {
		t.Error("the session does not live as long as its new token")
	}

	reused := events.SessionEnded{User: "ann", Session: "ses_ann", Reason: events.EndedByReuse}
	ended := after.when(RefreshSession("token 1", session("ann", 3), morning)).then(reused)
	ended.when(RefreshSession("token 2", session("ann", 3), morning)).refused(CodeSessionEnded)
	if doc(ended, Sessions, "ses_ann").Live(morning) {
		t.Error("the session still lives")
	}
}

func TestOneReusedTokenDoesNotEndOtherSessions(t *testing.T) {
	second := events.Session{ID: "ses_2", RefreshHash: "other", ExpiresAt: morning.Add(month)}
	given(t, open, signedUp("ann"), did(StartSession("ann", second)),
		did(RefreshSession("stolen", session("ann", 2), morning))).
		when(RefreshSession("other", second, morning)).
		then(events.SessionRefreshed{User: "ann", Session: second})
}

func TestASessionEndsByTheWallClockAlone(t *testing.T) {
	s := given(t, open, signedUp("ann"), later(2*month))
	s.when(RefreshSession("token 1", session("ann", 2), morning.Add(month-time.Millisecond))).
		then(events.SessionRefreshed{User: "ann", Session: session("ann", 2)})
	s.when(RefreshSession("token 1", session("ann", 2), morning.Add(month))).refused(CodeSessionEnded)
}

func TestAnErasedUsersSessionIsOver(t *testing.T) {
	given(t, open, signedUp("ann"), erased("ann")).
		when(RefreshSession("token 1", session("ann", 2), morning)).refused(CodeSessionEnded)
}

func TestThereIsNothingToRefreshWithoutASession(t *testing.T) {
	given(t, open).when(RefreshSession("token 1", session("ann", 2), morning)).refused(CodeSessionEnded)
}

func TestLoggingOutEndsTheSession(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	after := s.when(EndSession("ses_ann", events.EndedByLogout)).
		then(events.SessionEnded{User: "ann", Session: "ses_ann", Reason: events.EndedByLogout})
	after.when(RefreshSession("token 1", session("ann", 2), morning)).refused(CodeSessionEnded)
	after.when(EndSession("ses_ann", events.EndedByLogout)).refused(CodeNothingToDo)
	s.when(EndSession("ses_nobody", events.EndedByLogout)).refused(CodeNotFound)
}

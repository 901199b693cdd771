package ledger

import (
	"strings"
	"testing"
	"time"

	"truebond/events"
)

func TestSigningUpStartsASessionAndGivesABonus(t *testing.T) {
	bonus := events.Lot{ID: "ann-bonus", Kind: events.Promotional, Credits: 10}
	phone := sealed("+911234567890")
	ann := newcomer("ann")
	ann.Phone = &phone

	after := given(t, open).when(SignUp(ann)).
		moving(events.Move{From: "issued/promotional", To: "user/ann/ann-bonus", Asset: events.Credit, Amount: 10}).
		then(events.UserSignedUp{
			User: "ann", EmailHash: "hash of ann", Email: sealed("ann@example.org"), Name: sealed("ann"),
			BirthDate: sealed("2000-01-31"), Phone: &phone, Password: sealed("secret"), Roles: []string{"user"},
			Session: session("ann", 1), Bonus: &bonus, Available: 10,
		}).has("ann", 10)

	if !doc(after, Users, "ann").Active() || !doc(after, Sessions, "ses_ann").Live(morning) {
		t.Error("ann is not there, or not logged in")
	}
}

func TestABonusOfNothingIsNotGiven(t *testing.T) {
	none := menu
	none.SignupBonus = 0
	s := given(t, did(SetPrices(none)), signedUp("ann")).has("ann", 0)
	if doc(s, Emails, "hash of ann").BonusGiven {
		t.Error("a bonus is said to be given")
	}
}

func TestAnAddressHasOneAccount(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	second := newcomer("eve")
	second.EmailHash = "hash of ann"
	s.when(SignUp(second)).refused(CodeEmailTaken, "email")
	s.when(CreateStaff(NewStaff{User: "eve", EmailHash: "hash of ann", Roles: []string{RoleAdmin}})).
		refused(CodeEmailTaken, "email")
}

func TestAnErasedPersonMaySignUpAgainButGetsNoSecondBonus(t *testing.T) {
	again := newcomer("ann2")
	again.EmailHash = "hash of ann"
	s := given(t, open, signedUp("ann"), erased("ann"), did(SignUp(again))).has("ann2", 0)

	another := newcomer("ann3")
	another.EmailHash = "hash of ann"
	s.when(SignUp(another)).refused(CodeEmailTaken, "email")
	s.and(erased("ann2")).apply(events.StaffCreated{User: "ann4", EmailHash: "hash of ann"}, nil) // for a while
	s.and(erased("ann4"), did(SignUp(another))).has("ann3", 0)
}

func TestNobodySignsUpBeforeThereArePrices(t *testing.T) {
	given(t).when(SignUp(newcomer("ann"))).refused(CodePricesUnset)
}

func TestOnlyPeopleOf18OrOlderSignUp(t *testing.T) {
	for _, c := range []struct {
		born, today string
		code        string // empty: welcome
	}{
		{"2008-03-02", "2026-03-01", CodeUnderAge},
		{"2008-03-01", "2026-03-01", ""},
		{"2008-02-28", "2026-03-01", ""},
		{"2008-02-29", "2026-02-28", CodeUnderAge},
		{"2008-02-29", "2026-03-01", ""},
		{"2008-04-01", "2026-03-31", CodeUnderAge},
		{"2006-12-31", "2024-12-30", CodeUnderAge},
		{"2006-12-31", "2024-12-31", ""},
		{"2006-12-31", "2025-01-01", ""},
		{"2026-03-01", "2026-03-01", CodeUnderAge},
		{"2026-03-02", "2026-03-01", CodeInvalidRequest},
		{"1896-03-01", "2026-03-01", ""},
		{"1895-03-01", "2026-03-01", CodeInvalidRequest},
		{"2007-02-29", "2026-03-01", CodeInvalidRequest},
		{"31.01.2000", "2026-03-01", CodeInvalidRequest},
		{"", "2026-03-01", CodeInvalidRequest},
	} {
		t.Run(c.born+" on "+c.today, func(t *testing.T) {
			today, err := time.Parse(time.DateOnly, c.today)
			if err != nil {
				t.Fatal(err)
			}
			n := newcomer("ann")
			n.BirthDate = c.born
			o := given(t, open, on(today)).when(SignUp(n))
			if c.code == "" && o.err == nil {
				return
			}
			o.refused(c.code, "birth_date")
		})
	}
}

func TestABirthdayBeginsAtMidnightUTC(t *testing.T) {
	n := newcomer("ann")
	n.BirthDate = "2008-03-02"
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	s := given(t, open, on(midnight.Add(-time.Millisecond)))
	s.when(SignUp(n)).refused(CodeUnderAge, "birth_date")
	s.and(on(midnight.In(time.FixedZone("west", -8*3600))), did(SignUp(n)))
}

func TestStaffAreAdminsOrFinance(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	staff := NewStaff{
		User: "fay", EmailHash: "hash of fay", Email: sealed("fay@example.org"), Name: sealed("fay"),
		Password: sealed("secret"), Roles: []string{RoleAdmin, RoleFinance},
	}
	after := s.when(CreateStaff(staff)).moving().then(events.StaffCreated(staff))
	if doc(after, Users, "fay").Roles[1] != RoleFinance || doc(after, Emails, "hash of fay").User != "fay" {
		t.Error("fay is not known as she is")
	}
	for _, roles := range [][]string{nil, {"user"}, {"admin", "user"}, {"admin", "admin"}, {"root"}} {
		staff.Roles = roles
		s.when(CreateStaff(staff)).refused(CodeInvalidRequest, "roles")
	}
}

func TestErasingAUserLeavesNothingButTheirID(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	s.when(EraseUser("bob", "asked for it")).refused(CodeUnknownUser, "user_id")
	s.when(EraseUser("ann", "")).refused(CodeInvalidRequest, "reason")
	s.when(EraseUser("ann", strings.Repeat("é", 201))).refused(CodeInvalidRequest, "reason")

	after := s.when(EraseUser("ann", "asked for it")).moving().
		then(events.UserErased{User: "ann", Reason: "asked for it"}).has("ann", 10)
	if got := stored(t, doc(after, Users, "ann")); got != `{"id":"ann","erased":true}` {
		t.Errorf("of ann there is left %s", got)
	}
	after.when(EraseUser("ann", "again")).refused(CodeNothingToDo)
}

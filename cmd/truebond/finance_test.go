package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/commands/stripe"
)

func TestBooksAreReadAsOfAnyTime(t *testing.T) {
	w := begin(t, embedded)
	ann, bob, finance := w.signsUp(), w.signsUp(), w.staff("finance")
	var times []time.Time
	for range 4 { // a message each, at times of which some are in one minute, and some not in one day
		times = append(times, w.now())
		ann.sends(bob, "hello")
		w.advance(20 * time.Second)
	}
	w.advance(24 * time.Hour)
	times = append(times, w.now())
	ann.sends(bob, "hello")
	ann.catchesUp()
	spent := func(asOf string) string {
		path := "/api/finance/trial-balance"
		if asOf != "" {
			path += "?as_of=" + url.QueryEscape(asOf)
		}
		a := w.ask("GET", path, finance, nil).is(200)
		for _, total := range listOf[map[string]any](a, "totals") {
			if fmt.Sprint(total["balance"]) != "0" {
				t.Errorf("as of %s the books do not balance: %s", asOf, a.body)
			}
		}
		for _, line := range listOf[map[string]any](a, "accounts") {
			if line["account"] == "spent/promotional/messages" {
				return fmt.Sprint(line["balance"])
			}
		}
		return "0"
	}
	for i, at := range times {
		if got := spent(at.Format(time.RFC3339Nano)); got != fmt.Sprint(i) {
			t.Errorf("before message %d %s credits are spent", i, got)
		}
		for _, later := range []time.Duration{time.Nanosecond, time.Millisecond} {
			if got := spent(at.Add(later).Format(time.RFC3339Nano)); got != fmt.Sprint(i+1) {
				t.Errorf("%s after message %d %s credits are spent", later, i, got)
			}
		}
	}
	before, last := times[3].Format(time.DateOnly), times[4].Format(time.DateOnly)
	for asOf, want := range map[string]string{
		"": "5", last: "5", before: "4", "2001-01-01": "0", "2001-01-01T00:00:00Z": "0", "9999-12-31": "5",
		"9998-01-01T00:00:00Z": "5", "9999-12-31T23:59:59-12:00": "5",
		times[4].Add(time.Second).In(time.FixedZone("", 19800)).Format(time.RFC3339): "5",
	} {
		if got := spent(asOf); got != want {
			t.Errorf("as of %q %s credits are spent, want %s", asOf, got, want)
		}
	}
	w.ask("GET", "/api/finance/trial-balance?as_of=", finance, nil).is(400).says("errors.0.pointer", "#/as_of")
	w.ask("GET", "/api/finance/trial-balance?as_of=0000-01-01T00:00:00%2B12:00", finance, nil).is(422).
		says("errors.0.pointer", "#/as_of")
}

func TestTheBooksHoldWhatHappenedInTheLastYearThatThereIs(t *testing.T) {
	w := begin(t, embedded)
	ann, finance := w.signsUp(), &person{w: w, token: w.staff("finance")}
	paid, err := stripe.PaidEvent("evt_1", succeeded, ann.buys("small"), 5000, "INR",
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	w.webhook(paid).is(200)
	ann.catchesUp()
	for _, asOf := range []string{"", "?as_of=9999-12-31"} {
		finance.get("/api/finance/trial-balance"+asOf).is(200).
			says("accounts.0.account", "deferred", "accounts.0.balance", -5000)
	}
	finance.get("/api/finance/trial-balance?as_of=9999-12-30").is(200).
		says("accounts.0.account", "issued/promotional")
}

func TestATimeIsBetweenTwoMilliseconds(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	w.advance(time.Minute)
	at := w.now()
	ann.sends(bob, "hello")
	ann.catchesUp()
	just, after := url.QueryEscape(at.Format(time.RFC3339Nano)), url.QueryEscape(at.Add(1).Format(time.RFC3339Nano))
	finance, admin := &person{w: w, token: w.staff("finance")}, &person{w: w, token: w.staff("admin")}
	for path, who := range map[string]*person{
		"/api/finance/journal?limit=5&": finance, "/api/finance/journal?account=spent/promotional/messages&": finance,
		"/api/admin/audit?type=message.sent&": admin,
	} {
		for query, want := range map[string]string{"from=" + just: "message.sent", "from=" + after: ""} {
			if got := who.get(path + query).is(200).get("data.0.type"); got != want {
				t.Errorf("%s%s begins with %q, want %q", path, query, got, want)
			}
		}
		if n := len(listOf[any](who.get(path+"until="+after).is(200), "data")); n == 0 {
			t.Errorf("%suntil=%s lacks what was before it", path, after)
		}
		who.get(path+"from=2026-01-31").is(422).
			says("errors.0.detail", "must be a time like 2026-01-31T12:00:00Z")
	}
}

func TestTheJournalIsPagedAndHeldAgainstTheTrialBalance(t *testing.T) {
	w := begin(t, embedded)
	ann, bob, f := w.signsUp(), w.signsUp(), w.staff("finance")
	finance := &person{w: w, token: f}
	ann.post("/api/payments/simulate/payment", map[string]any{"intent_id": ann.buys("small")}).is(200)
	for range 5 {
		ann.sends(bob, "hello")
	}
	ann.catchesUp()
	all := finance.pages("/api/finance/journal", "position", 100)
	if len(all) != 8 { // two bonuses, a purchase, five messages
		t.Fatalf("the journal has the positions %v", all)
	}
	for _, limit := range []int{1, 3, 8} {
		if got := finance.pages("/api/finance/journal", "position", limit); !slices.Equal(got, all) {
			t.Errorf("in pages of %d the journal has %v, want %v", limit, got, all)
		}
	}
	a := finance.get("/api/finance/journal").is(200)
	sum := map[string]int64{}
	for _, entry := range listOf[struct {
		Moves []struct {
			From, To, Asset string
			Amount          int64
		}
	}](a, "data") {
		for _, m := range entry.Moves {
			sum[m.Asset+strings.SplitN(m.From, "/", 2)[0]] -= m.Amount
			sum[m.Asset+strings.SplitN(m.To, "/", 2)[0]] += m.Amount
		}
	}
	for _, line := range listOf[struct {
		Account, Asset string
		Balance        int64
	}](finance.get("/api/finance/trial-balance").is(200), "accounts") {
		sum[line.Asset+strings.SplitN(line.Account, "/", 2)[0]] -= line.Balance
	}
	for class, rest := range sum {
		if rest != 0 {
			t.Errorf("the journal and the trial balance differ in %s by %d", class, rest)
		}
	}
	cursor := finance.get("/api/finance/journal?limit=1").get("next_cursor")
	finance.get("/api/finance/journal?account=issued/paid&cursor=" + cursor).is(400)
	finance.get("/api/finance/journal?account=issued/paid").is(200).
		says("data.0.type", "payment.granted", "data.1", "")
	finance.get("/api/finance/journal?from=2999-01-01T00:00:00Z").is(200).says("data.0", "")
	finance.get("/api/finance/journal?from=2999-01-01T00:00:00Z&until=2001-01-01T00:00:00Z").is(200).
		says("data.0", "")
	// Not necessarily the sign-up: Stripe tells the whole second in which a payment was made.
	finance.get("/api/finance/journal?until=2999-01-01T00:00:00Z&limit=1").is(200).
		says("data.0.position", all[0])
}

func TestTheAuditIsFilteredByAllThatItHas(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	admin := &person{w: w, token: w.staff("admin")}
	w.now()
	early := w.now()
	first := ann.sends(bob, "the words")
	w.advance(time.Hour)
	late := w.now()
	ann.sends(bob, "the words")
	bob.sends(ann, "the words")
	bob.post("/api/v2/messages/mark-read", map[string]any{"message_ids": []string{first}}).is(200)

	bob.catchesUp()
	query := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return "/api/admin/audit?" + q.Encode()
	}
	at := func(t time.Time) string { return t.Format(time.RFC3339Nano) }
	account := admin.get(query("type", "user.signed_up", "subject", ann.id)).is(200).get("data.0.moves.0.to")
	for _, c := range []struct {
		want  int
		pairs []string
	}{
		{3, []string{"type", "message.sent"}},
		{2, []string{"type", "message.sent", "actor", "user/" + ann.id}},
		{1, []string{"type", "message.sent", "actor", "user/" + bob.id, "subject", ann.id}},
		{0, []string{"type", "message.sent", "actor", "operator"}},
		{1, []string{"type", "messages.read", "subject", bob.id}},
		{3, []string{"account", account}},
		{2, []string{"account", account, "type", "message.sent"}},
		{1, []string{"type", "message.sent", "until", at(late)}},
		{2, []string{"type", "message.sent", "from", at(late)}},
		{1, []string{"type", "message.sent", "from", at(early), "until", at(late), "actor", "user/" + ann.id}},
		{3, []string{"from", at(late)}},
		{1, []string{"from", at(early), "until", at(late)}},
		{0, []string{"from", at(late), "until", at(early)}},
		{0, []string{"type", "no.such_type"}},
		{1, []string{"actor", "operator"}},
		{0, []string{"subject", "$where"}},
	} {
		a := admin.get(query(c.pairs...)).is(200)
		if got := len(listOf[any](a, "data")); got != c.want {
			t.Errorf("%v finds %d, want %d: %s", c.pairs, got, c.want, a.body)
		}
		if strings.Contains(string(a.body), `"box"`) {
			t.Errorf("%v shows what is sealed: %s", c.pairs, a.body)
		}
	}
	all := admin.pages("/api/admin/audit", "position", 100)
	if got := admin.pages("/api/admin/audit", "position", 2); !slices.Equal(got, all) || all[len(all)-1] != "1" {
		t.Errorf("in pages of 2 the audit has %v, want %v", got, all)
	}
	cursor := admin.get(query("type", "message.sent", "limit", "1")).get("next_cursor")
	for _, pairs := range [][]string{{"type", "call.ended"}, {"type", "message.sent", "actor",
		"user/" + ann.id}, {}} {
		admin.get(query(append(pairs, "cursor", cursor)...)).is(400).says("code", "invalid_cursor")
	}
}

func TestTheAuditUntilALaterMomentGoesOnThoughEventsCome(t *testing.T) {
	w := begin(t, embedded)
	ann, bob := w.signsUp(), w.signsUp()
	admin := &person{w: w, token: w.staff("admin")}
	ann.sends(bob, "the first")
	ann.sends(bob, "the second")
	until := w.now().Add(time.Hour)
	page := func(cursor string) answer {
		q := url.Values{"until": {until.Format(time.RFC3339Nano)}, "type": {"message.sent"}, "limit": {"1"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		ann.catchesUp()
		return admin.get("/api/admin/audit?" + q.Encode())
	}
	first := page("").is(200)
	ann.sends(bob, "before that moment")
	w.advance(2 * time.Hour)
	ann.sends(bob, "after it")
	second := page(first.get("next_cursor")).is(200).says("has_more", false)
	if one, two := first.get("data.0.position"), second.get("data.0.position"); one == "" || two == "" || one == two {
		t.Errorf("the pages have %s and %s", first.body, second.body)
	}
	other := url.Values{"until": {until.Add(time.Hour).Format(time.RFC3339Nano)}, "type": {"message.sent"},
		"cursor": {first.get("next_cursor")}}
	admin.get("/api/admin/audit?"+other.Encode()).is(400).says("code", "invalid_cursor")
}

// catchesUp reads until the views show all that is in the log.
func (p *person) catchesUp() {
	p.w.t.Helper()
	p.w.ask("GET", "/api/credits/balance", p.token, nil, "Ledger-Position", p.w.position()).is(200)
}

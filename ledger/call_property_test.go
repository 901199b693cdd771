package ledger

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
)

// TestCallsKeepTheirBooks runs random commands about the calls of a few users, most of
// them refused, and looks at all calls after each.
func TestCallsKeepTheirBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := given(t, open, signedUp("ann", "bob", "cat"), bought("pi_1"))
		finals := map[string]Call{}
		calls := 0
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			before := s.last
			d := drawCallCommand(t, s, &calls)
			if o := s.when(d); o.err == nil {
				s.apply(o.payload, o.moves)
			} else if !errorsAsRefusal(o.err) {
				t.Fatalf("a command failed, and not by a rule: %v", o.err)
			}
			if s.last > before+1 {
				t.Fatalf("one command made %d events", s.last-before)
			}
			checkCalls(t, s, calls, finals)
		}
	})
}

func errorsAsRefusal(err error) bool {
	var refused *Refusal
	return errors.As(err, &refused)
}

// drawCallCommand draws a command after some time: mostly of somebody whom it concerns,
// about a call that is on, when it is due; sometimes not.
func drawCallCommand(t *rapid.T, s *scene, calls *int) Decision {
	often := func(what string) bool { return rapid.IntRange(0, 3).Draw(t, what) > 0 }
	user := rapid.SampledFrom([]string{"ann", "bob", "cat"})
	call := fmt.Sprintf("c%d", rapid.IntRange(0, *calls).Draw(t, "call"))
	if line := doc(s, Lines, user.Draw(t, "whose")).Call; line != "" && often("its call") {
		call = line
	}
	c := doc(s, Calls, call)
	by := user.Draw(t, "by")
	if c.To != "" && often("its callee") {
		by = c.To
	}
	s.and(later(time.Millisecond * time.Duration(rapid.SampledFrom([]int{0, 0, 1, 15_000}).Draw(t, "passes"))))
	switch rapid.SampledFrom([]string{
		"initiate", "initiate", "accept", "accept", "accept", "charge", "charge", "charge", "charge", "charge",
		"miss", "end", "reject", "gone", "spend", "erase",
	}).Draw(t, "command") {
	case "initiate":
		*calls++
		return ringing(fmt.Sprintf("c%d", *calls), user.Draw(t, "from"), user.Draw(t, "to"),
			rapid.SampledFrom([]events.CallKind{events.AudioCall, events.VideoCall}).Draw(t, "kind"))
	case "accept":
		return AcceptCall(call, by)
	case "charge":
		if c.State == CallActive && s.now.Before(c.due(c.Intervals)) && often("when due") {
			s.now = c.due(c.Intervals)
		}
		if rapid.IntRange(0, 9).Draw(t, "overdue") == 9 {
			s.and(later(lateMax + time.Millisecond))
		}
		n := c.Intervals + rapid.SampledFrom([]int{0, 0, 0, 0, -1, 1}).Draw(t, "off")
		return ChargeCall(call, n)
	case "miss":
		if c.State == CallRinging && often("when due") && s.now.Before(c.RingsUntil) {
			s.now = c.RingsUntil
		}
		return MissCall(call)
	case "reject":
		return RejectCall(call, by)
	case "gone":
		return EndCallGone(call, by)
	case "spend":
		return DeductCredits(by, rapid.Int64Range(1, 9).Draw(t, "credits"), "a gift")
	case "erase":
		if !often("stays") {
			return EraseUser(by, "asked for it")
		}
	}
	return EndCall(call, by)
}

// checkCalls looks at every call there is. finals are those that were over before.
func checkCalls(t *rapid.T, s *scene, calls int, finals map[string]Call) {
	busy := map[string]string{}
	spent := map[string]int64{} // credits by call, from the log's moves
	for _, e := range s.log {
		if id, _, _ := callOf(e.Data); id != "" {
			for _, m := range e.Moves {
				if use, ok := spentOn(m.To); ok && use == UseCalls {
					spent[id] += m.Amount
				}
			}
		}
	}
	for n := range calls + 1 {
		id := fmt.Sprintf("c%d", n)
		c := doc(s, Calls, id)
		if c.Charged != c.PricePerMinute*int64(c.Intervals) || c.Charged != spent[id] {
			t.Fatalf("%s was charged %d, its minutes come to %d×%d, and its moves to %d",
				id, c.Charged, c.Intervals, c.PricePerMinute, spent[id])
		}
		if c.Seconds < 0 || c.Seconds > int64(c.Intervals)*60 {
			t.Fatalf("%s lasted %d s and was charged for %d minutes", id, c.Seconds, c.Intervals)
		}
		if was, known := finals[id]; known && !reflect.DeepEqual(was, c) {
			t.Fatalf("%s was over as %+v and is now %+v", id, was, c)
		}
		switch {
		case c.State == "":
			continue
		case c.Over():
			finals[id] = c
			continue
		}
		for _, user := range []string{c.From, c.To} {
			if other := busy[user]; other != "" {
				t.Fatalf("%s is in the calls %s and %s", user, other, id)
			}
			busy[user] = id
		}
	}
	for _, user := range []string{"ann", "bob", "cat"} {
		if line := doc(s, Lines, user).Call; line != busy[user] {
			t.Fatalf("%s is in the call %q, and their line says %q", user, busy[user], line)
		}
		if credits := doc(s, Accounts, user).Available(s.now); credits < 0 {
			t.Fatalf("%s has %d credits", user, credits)
		}
	}
}

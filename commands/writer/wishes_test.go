package writer

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"truebond/events"
	"truebond/ledger"
)

// A wish is a command of the real ledger. Its actor is nobody else's, so that its event
// is known among all others.
type wish struct {
	Command
	name     string
	timeless bool // whether it is refused does not depend on the time
	rightly  bool // a moment was found at which its refusal was right
}

var users = []string{"ann", "bob", "cid"}

var (
	menu  = events.PricesSet{Version: 1, Message: 1, AudioMinute: 5, VideoMinute: 10, SignupBonus: 10}
	small = events.Package{Name: "small", Credits: 20, Prices: map[events.Asset]int64{events.INR: 5000}}
	quote = ledger.Quote{Packages: 1, Package: "small", Credits: 20, Amount: 5000, Currency: events.INR}
)

// firstWishes make a server that has prices, packages and two of the users.
func firstWishes() []*wish {
	first := map[int]ledger.Decision{
		1: ledger.SetPrices(menu),
		2: ledger.SetPackages(events.PackagesSet{Version: 1, Packages: []events.Package{small}}),
		3: signUp("signup/ann", "ann"),
		4: signUp("signup/bob", "bob"),
	}
	keys := []string{"", "prices", "packages", "signup/ann", "signup/bob"}
	var wishes []*wish
	for n := 1; n < len(keys); n++ {
		wishes = append(wishes, &wish{
			Command: Command{Key: keys[n], Actor: actor(n), Joins: true, Decide: first[n]}, name: keys[n],
		})
	}
	return wishes
}

func signUp(key, user string) ledger.Decision {
	return ledger.SignUp(ledger.NewUser{
		User: user, EmailHash: "hash of " + user, BirthDate: "1990-01-31",
		Email: sealed(key, "email"), Name: sealed(key, "name"), SealedBirthDate: sealed(key, "birth_date"),
		Password: sealed(key, "password"), BonusLot: "bonus-" + user,
		Session: events.Session{ID: "ses-" + user, RefreshHash: "hash", ExpiresAt: morning.AddDate(1, 0, 0)},
	})
}

func sealed(key, field string) events.Sealed {
	return events.Sealed{Owner: "somebody", Ref: events.SealedRef(key, field), Box: []byte(field)}
}

// draw is a new wish, or now and then an old one once more.
func (m *model) draw() *wish {
	m.drawn++
	n := m.drawn
	if m.one(8) == 0 {
		return m.asked[m.one(len(m.asked))].wish
	}
	key := fmt.Sprint("key/", n)
	if m.one(5) == 0 {
		key = fmt.Sprint("shared/", m.one(1+n/8))
	}
	w := &wish{Command: Command{
		Key: key, Actor: actor(1000 + n), Joins: m.one(2) == 0,
		Request: [][]byte{nil, []byte("a"), []byte("b")}[m.one(3)],
	}}
	if m.one(6) == 0 {
		w.Effective = morning.Add(-time.Duration(n) * time.Hour)
	}
	user, other := users[m.one(len(users))], users[m.one(len(users))]
	about := []func(*wish, int, string, string){m.aboutCredits, m.aboutPayments, m.aboutMessages, m.aboutCalls}
	about[m.one(len(about))](w, n, user, other)
	w.name = fmt.Sprintf("wish %d (%s under %s, %s and %s)", n, w.name, key, user, other)
	return w
}

// one is one of so many.
func (m *model) one(of int) int { return int(m.faults.below(uint64(of))) }

func (w *wish) is(name string, decide ledger.Decision, timeless bool) {
	w.name, w.Decide, w.timeless = name, decide, timeless
}

func (m *model) aboutCredits(w *wish, n int, user, _ string) {
	credits, hold := int64(1+m.one(8)), fmt.Sprint("hold-", m.one(2))
	spent := m.happened("message.sent", "credits.deducted")
	switch {
	case m.one(3) == 0 && spent != nil:
		w.is("undo", ledger.UndoSpend(*spent, "a mistake"), false)
	case m.one(2) == 0:
		w.is("deduct", ledger.DeductCredits(user, credits, "a gift"), true)
	case m.one(2) == 0:
		w.is("reserve", ledger.ReserveCredits(ledger.NewHold{
			Hold: hold, User: user, Credits: credits, Use: ledger.UseOther, ExpiresAt: morning.Add(time.Hour),
		}), false)
	case m.one(2) == 0:
		w.is("capture", ledger.CaptureHold(user, hold, credits), false)
	default:
		w.is("release", ledger.ReleaseHold(user, hold), false)
	}
}

func (m *model) aboutPayments(w *wish, n int, user, _ string) {
	intended := m.happened("payment.intended")
	switch {
	case m.one(10) == 0:
		w.is("sign up", signUp(w.Key, user), false)
	case m.one(3) == 0 || intended == nil:
		intent := fmt.Sprint("pi_", n)
		w.is("intend", ledger.IntendPayment(ledger.NewIntent{
			User: user, Intent: intent, Lot: "lot-" + intent, Quote: quote, ClientSecret: sealed(w.Key, "client_secret"),
		}), true)
	default:
		w.is("confirm", ledger.ConfirmPayment(ledger.Announcement{
			StripeEvent: fmt.Sprint("evt_", n), StripeType: "payment_intent.succeeded", Created: morning,
			Intent: intended.Data.(events.PaymentIntended).Intent, Amount: 5000, Currency: "inr", Paid: true,
		}), true)
	}
}

func (m *model) aboutMessages(w *wish, n int, user, other string) {
	sent := m.happened("message.sent")
	switch {
	case m.one(8) == 0:
		w.is("block", ledger.Block(user, other), true)
	case m.one(3) == 0:
		w.is("unblock", ledger.Unblock(user, other), true)
	case m.one(2) == 0 || sent == nil:
		w.is("send", ledger.SendMessage(ledger.NewMessage{
			Message: fmt.Sprint("msg-", n), From: user, To: other, Body: sealed(w.Key, "body"),
		}), true)
	default:
		message := sent.Data.(events.MessageSent)
		w.is("read", ledger.MarkRead(message.To, []string{message.Message}), true)
	}
}

func (m *model) aboutCalls(w *wish, n int, user, other string) {
	last := m.happened("call.initiated")
	if last == nil || m.one(3) == 0 {
		w.is("call", ledger.InitiateCall(ledger.NewCall{
			Call: fmt.Sprint("call-", n), From: user, To: other, Kind: events.AudioCall,
		}), true)
		return
	}
	call := last.Data.(events.CallInitiated)
	switch m.one(4) {
	case 0:
		w.is("accept", ledger.AcceptCall(call.Call, call.To), false)
	case 1:
		w.is("end", ledger.EndCall(call.Call, call.From), false)
	case 2:
		w.is("miss", ledger.MissCall(call.Call), false)
	default:
		w.is("charge", ledger.ChargeCall(call.Call, 1), false)
	}
}

// happened is one of the last acknowledged events of these types; nil if there is none.
func (m *model) happened(types ...string) *events.Event {
	var found []events.Event
	for _, a := range m.asked {
		if a.err == nil && slices.Contains(types, a.done.Event.Data.Type()) {
			found = append(found, a.done.Event)
		}
	}
	if len(found) == 0 {
		return nil
	}
	found = found[max(0, len(found)-3):]
	return &found[m.one(len(found))]
}

// actor is the one whose wish has this number.
func actor(n int) events.Actor { return events.Actor{Kind: events.ActorUser, ID: strconv.Itoa(n)} }

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

// demoPassword is everybody's in a demo, which is on this machine only and thrown away.
const demoPassword = "throw-away-demo" //nolint:gosec // it opens nothing that is kept

// A told story is what a demo has to show.
type told struct {
	URL, Data, Program, Password, Key, OpenIntent, Secret, AuditKey string

	Ann, Bob, Admin, Finance actor
	People                   []actor
	Done                     []string
}

// An actor plays a part in the story.
type actor struct {
	client
	ID, Email, Token, What string
}

// A teller tells the story to a server, as its users would; the first error ends it.
type teller struct {
	ctx    context.Context
	server *server.Server
	told   told
	keys   int
	err    error
}

// tellStory has people sign up, buy, write, call and dispute.
func tellStory(ctx context.Context, s *server.Server) (told, error) {
	defer http.DefaultClient.CloseIdleConnections() // a server that stops would wait for them
	secret, err := datafolder.Folder{Path: s.Data}.ReadSecret(datafolder.WebhookSecretFile)
	if err != nil {
		return told{}, err
	}
	t := &teller{ctx: ctx, server: s, told: told{URL: s.URL(), Password: demoPassword, Program: programName(os.Args[0]),
		Secret: secret, AuditKey: s.Key()}}
	ann := t.signUp("ann@example.com", "Ann", "bought credits, writes and calls")
	bob := t.signUp("bob@example.com", "Bob", "answers")
	cleo := t.signUp("cleo@example.com", "Cleo", "disputed what she bought, and is in debt")

	t.buy(ann, "small")
	for _, text := range []string{"Hi Bob!", "Are you there?", "I can hear you typing."} {
		t.send(ann, bob, text)
	}
	t.send(bob, ann, "Hi Ann.")
	t.call(ann, bob, 150*time.Second)
	disputed := t.buy(cleo, "small")
	const spam = 15 // ten of the bonus, and five that were bought
	for range spam {
		t.say(cleo, bob, "Free credits for everybody!")
	}
	t.note("Cleo wrote to Bob %d times; five of it she paid with what she had bought.", spam)
	t.dispute(cleo, disputed)
	t.told.OpenIntent = t.intend(ann, "large")
	t.note("Ann began to buy the package large, and has not paid yet.")
	t.told.Admin = t.staff("admin@example.com", ledger.RoleAdmin, "looks through the audit trail")
	t.told.Finance = t.staff("finance@example.com", ledger.RoleFinance, "reads the books")
	t.told.Key = t.apiKey()
	t.told.Ann, t.told.Bob = ann, bob
	t.told.People = []actor{ann, bob, cleo, t.told.Admin, t.told.Finance}
	return t.told, t.err
}

// programName is how a shell in any folder calls a program that was called so.
func programName(called string) string {
	if strings.Contains(called, "go-build") {
		return "go run ./cmd/truebond"
	}
	if !strings.ContainsRune(called, filepath.Separator) { // it was found in PATH
		return called
	}
	path, err := filepath.Abs(called)
	if err != nil {
		return called
	}
	return path
}

func (t *teller) note(format string, args ...any) {
	t.told.Done = append(t.told.Done, fmt.Sprintf(format, args...))
}

// as asks the server as somebody; a command gets a key of its own.
func (t *teller) as(who actor, path string, in, out any) {
	if t.err != nil {
		return
	}
	t.keys++
	who.idempotencyKey = fmt.Sprintf("demo-%d", t.keys)
	if err := who.call(t.ctx, http.MethodPost, path, in, out); err != nil {
		t.err = fmt.Errorf("%s: %w", path, err)
	}
}

func (t *teller) nobody() actor { return t.with("") }

func (t *teller) with(token string) actor {
	return actor{client: client{http: http.DefaultClient, base: t.server.URL(), key: token}, Token: token}
}

func (t *teller) signUp(email, name, what string) actor {
	var in struct {
		User        struct{ ID string }
		AccessToken string `json:"access_token"`
	}
	t.as(t.nobody(), "/api/auth/signup", map[string]any{
		"email": email, "password": demoPassword, "name": name, "birth_date": "1995-05-17",
	}, &in)
	t.note("%s signed up and got 10 credits.", name)
	a := t.with(in.AccessToken)
	a.ID, a.Email, a.What = in.User.ID, email, what
	return a
}

func (t *teller) intend(who actor, name string) (intent string) {
	var made struct {
		IntentID string `json:"intent_id"`
	}
	t.as(who, "/api/credits/purchase", map[string]any{"package": name}, &made)
	return made.IntentID
}

func (t *teller) buy(who actor, name string) (intent string) {
	intent = t.intend(who, name)
	t.as(who, "/api/payments/simulate/payment", map[string]any{"intent_id": intent}, nil)
	t.note("%s bought the package %s: a signed webhook brought the credits in.", t.nameOf(who), name)
	return intent
}

func (t *teller) nameOf(who actor) string {
	name, _, _ := strings.Cut(who.Email, "@")
	return strings.ToUpper(name[:1]) + name[1:]
}

func (t *teller) say(from, to actor, body string) {
	t.as(from, "/api/v2/messages/send", map[string]any{"to": to.ID, "body": body}, nil)
}

func (t *teller) send(from, to actor, body string) {
	t.say(from, to, body)
	t.note("%s wrote to %s for 1 credit: %q", t.nameOf(from), t.nameOf(to), body)
}

func (t *teller) call(from, to actor, length time.Duration) {
	var made struct{ Call struct{ ID string } }
	t.as(from, "/api/calls/initiate", map[string]any{"to": to.ID, "kind": "audio"}, &made)
	t.as(to, "/api/calls/accept", map[string]any{"call_id": made.Call.ID}, nil)
	t.as(t.nobody(), "/api/test-clock/advance", map[string]any{"seconds": int64(length.Seconds())}, nil)
	t.as(from, "/api/calls/end", map[string]any{"call_id": made.Call.ID}, &struct{}{})
	t.note("%s called %s for %s, at 5 credits for each minute begun.", t.nameOf(from), t.nameOf(to), length)
}

// dispute has a bank take a payment back. What a webhook of Stripe's would say is told to
// the rules here; reading those webhooks is not built yet.
func (t *teller) dispute(who actor, intent string) {
	if t.err != nil {
		return
	}
	said := ledger.Announcement{
		StripeEvent: "evt_demo_dispute", StripeType: "charge.dispute.funds_withdrawn", Intent: intent,
	}
	facts := events.PaymentFacts{Disputes: map[string]events.Dispute{
		"dp_demo": {Amount: 5000, Transactions: map[string]int64{"txn_demo": -5000}},
	}}
	_, t.err = t.server.Do(t.ctx, writer.Command{
		Key: "stripe/" + said.StripeEvent, Actor: events.Actor{Kind: events.ActorStripe, ID: said.StripeEvent},
		Decide: ledger.LearnPaymentFacts(said, facts),
	})
	t.note("%s's bank took the payment back: what was spent of it is a debt now.", t.nameOf(who))
}

func (t *teller) staff(email, role, what string) actor {
	t.operate("/api/operator/staff", map[string]any{
		"email": email, "name": role, "password": demoPassword, "role": role,
	}, nil)
	var in struct {
		AccessToken string `json:"access_token"`
	}
	t.as(t.nobody(), "/api/auth/login", map[string]any{"email": email, "password": demoPassword}, &in)
	a := t.with(in.AccessToken)
	a.Email, a.What = email, what
	return a
}

func (t *teller) apiKey() string {
	var made struct{ Key string }
	t.operate("/api/operator/api-keys", map[string]any{
		"name": "demo", "scopes": []string{ledger.ScopeDeduct},
	}, &made)
	return made.Key
}

func (t *teller) operate(path string, in, out any) {
	if t.err != nil {
		return
	}
	server, err := target{data: t.server.Data}.connect(t.ctx)
	if err != nil {
		t.err = err
		return
	}
	t.err = server.call(t.ctx, http.MethodPost, path, in, out)
}

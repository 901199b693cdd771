package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
	"truebond/ledger/ledgertest"
)

// morning is when every scene begins.
var morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// A clerk decides by what is in memory, and may be too busy to.
type clerk struct {
	state *ledgertest.State
	last  uint64
	left  int   // commands and looks until it refuses
	why   error // what it refuses with then
}

func (c *clerk) refuses() error {
	if c.left--; c.left < 0 {
		return c.why
	}
	return nil
}

func (c *clerk) Do(_ context.Context, asked writer.Command) (writer.Done, error) {
	if err := c.refuses(); err != nil {
		return writer.Done{}, err
	}
	payload, moves, err := asked.Decide(ledger.NewTx(morning, c.state))
	if err != nil {
		return writer.Done{}, err
	}
	c.last++
	e := events.Event{Position: c.last, Key: asked.Key, Time: morning, Actor: asked.Actor, Moves: moves, Data: payload}
	c.state.Apply(e)
	return writer.Done{Event: e}, nil
}

func (c *clerk) DoAll(context.Context, []writer.Command) ([]writer.Outcome, error) {
	return nil, errors.New("nobody asks for many")
}

func (c *clerk) Look(_ context.Context, look func(*ledger.Tx) error) error {
	if err := c.refuses(); err != nil {
		return err
	}
	return look(ledger.NewTx(morning, c.state))
}

func (c *clerk) Last() uint64 { return c.last }

// openBook is a vault that seals nothing.
type openBook struct{ fails error }

func (o *openBook) MakeKey(context.Context, string) error { return o.fails }

func (o *openBook) Seal(_ context.Context, owner, _, _, text string) (events.Sealed, error) {
	return events.Sealed{Owner: owner, Box: []byte(text)}, o.fails
}

func (o *openBook) Open(_ context.Context, s events.Sealed) (string, error) {
	return string(s.Box), o.fails
}
func (o *openBook) Hash(purpose, text string) string    { return purpose + " of " + text }
func (o *openBook) Erase(context.Context, string) error { return o.fails }

// token is an access token of nobody's.
type token struct{}

func (token) Mint(string, string, []string) (string, time.Duration, error) {
	return "t", time.Hour, nil
}

// away is a Redis that does not answer.
type away struct{}

func (away) Seen(context.Context, string, time.Time, ...string) error { return errors.New("refused") }
func (away) LastSeen(context.Context, string, string) (time.Time, error) {
	return time.Time{}, errors.New("refused")
}

// An office is a service behind which everything else is a test's.
type office struct {
	*Service
	t     *testing.T
	clerk *clerk
	vault *openBook
	shown uint64 // the furthest position that was waited for
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, clerk: &clerk{state: ledgertest.NewState(), left: 1000}, vault: &openBook{}}
	o.Service = NewService(Parts{Writer: o.clerk, Vault: o.vault, Tokens: token{}, Presence: away{},
		Clock: TestClock(morning), Logger: slog.New(slog.DiscardHandler),
		Wait: func(_ context.Context, position uint64) error {
			o.shown = max(o.shown, position)
			return nil
		}})
	if err := o.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) signsUp(email string) LoggedIn {
	o.t.Helper()
	user, err := o.SignUp(o.t.Context(), SignUp{Email: email, Password: "a long password", Name: "Ann",
		BirthDate: "1990-01-31"})
	if err != nil {
		o.t.Fatal(err)
	}
	return user
}

func as(t *testing.T, user LoggedIn) context.Context {
	return ledger.WithCaller(t.Context(), ledger.Caller{Actor: events.Actor{Kind: events.ActorUser, ID: user.User.ID}})
}

// A call that rings has no key by which its caller could ask what has become of it.
func TestWhatIsDoneToACallIsAnsweredWithoutAskingAgain(t *testing.T) {
	o := newOffice(t)
	ann, bob := o.signsUp("ann@example.com"), o.signsUp("bob@example.com")
	once := func() { o.clerk.left, o.clerk.why = 1, writer.ErrOverloaded }
	once()
	rings, err := o.InitiateCall(as(t, ann), InitiateCall{To: bob.User.ID, Kind: events.AudioCall})
	if err != nil || rings.Call.State != ledger.CallRinging || rings.Call.To != bob.User.ID {
		t.Fatalf("it rings, and is answered with %+v and %v", rings, err)
	}
	id := CallID{rings.Call.ID}
	for _, does := range []struct {
		what  func(context.Context, CallID) (CallAnswer, error)
		state ledger.CallState
	}{{o.AcceptCall, ledger.CallActive}, {o.EndCall, ledger.CallEnded}} {
		once()
		got, err := does.what(as(t, bob), id)
		if err != nil || got.Position != o.clerk.last {
			t.Fatalf("it is %s, and is answered with %+v and %v", does.state, got, err)
		}
		o.clerk.left = 1000
		now, err := o.callNow(t.Context(), id.CallID)
		if err != nil || got.Call != callView(now) || got.Call.State != does.state || got.Call.Charged != 5 {
			t.Errorf("it is %+v, and is answered with %+v", now, got.Call)
		}
	}
}

func TestASignOfLifeThatCannotBeNotedIsNobodysFault(t *testing.T) {
	o := newOffice(t)
	ann, bob := o.signsUp("ann@example.com"), o.signsUp("bob@example.com")
	rings, err := o.InitiateCall(as(t, ann), InitiateCall{To: bob.User.ID, Kind: events.AudioCall})
	if err != nil {
		t.Fatal(err)
	}
	id := CallID{rings.Call.ID}
	if _, err := o.AcceptCall(as(t, bob), id); err != nil {
		t.Errorf("it goes on without, and is answered with %v", err)
	}
	if _, err := o.Heartbeat(as(t, bob), id); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("it is answered with %v", err)
	}
}

// The same token a second time would end the session.
func TestATokenIsNotUsedUpForWhomTheVaultFails(t *testing.T) {
	o := newOffice(t)
	ann := o.signsUp("ann@example.com")
	o.vault.fails = ledger.ErrUnavailable
	ask := Refresh{RefreshToken: ann.RefreshToken}
	if _, err := o.Refresh(t.Context(), ask); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("it is answered with %v", err)
	}
	o.vault.fails = nil
	if again, err := o.Refresh(t.Context(), ask); err != nil || again.RefreshToken == ann.RefreshToken {
		t.Errorf("again it is answered with %+v and %v", again, err)
	}
}

func TestWhoeverHasAStolenSessionIsToSeeItsEnd(t *testing.T) {
	o := newOffice(t)
	ann := o.signsUp("ann@example.com")
	ask := Refresh{RefreshToken: ann.RefreshToken}
	if _, err := o.Refresh(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	over, fails := false, error(nil)
	o.SessionOver = func(context.Context, string) (bool, error) { return over, fails }
	owner := events.Actor{Kind: events.ActorUser, ID: ann.User.ID}
	for _, when := range []string{"at first", "again, after the answer got lost", "while the store is away"} {
		got, err := o.Refresh(t.Context(), ask)
		if !errors.Is(err, ErrRefresh) || got.AccessToken != "" || got.RefreshToken != "" {
			t.Fatalf("%s it is answered with %+v and %v", when, got, err)
		}
		if got.Position != o.clerk.last || !slices.Contains(got.RememberFor(), owner) {
			t.Errorf("%s %v are to see %d, and it ended at %d", when, got.RememberFor(), got.Position, o.clerk.last)
		}
		over, fails = when != "at first", ledger.ErrUnavailable
	}
	fails = nil
	if got, err := o.Refresh(t.Context(), ask); !errors.Is(err, ErrRefresh) || got.Position != 0 || len(got.RememberFor()) > 0 {
		t.Errorf("when the views show it, %v are to see %d, %v", got.RememberFor(), got.Position, err)
	}
}

func TestWhoseKeyCannotBeDestroyedYetIsShutOutAllTheSame(t *testing.T) {
	o := newOffice(t)
	ann := o.signsUp("ann@example.com")
	o.vault.fails = ledger.ErrUnavailable
	got, err := o.Erase(t.Context(), Erase{UserID: ann.User.ID, Reason: "asked for"})
	if !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("it is answered with %v", err)
	}
	owner := events.Actor{Kind: events.ActorUser, ID: ann.User.ID}
	if got.Position != o.clerk.last || !slices.Contains(got.RememberFor(), owner) {
		t.Errorf("%v are to see %d, and it is at %d", got.RememberFor(), got.Position, o.clerk.last)
	}
}

// What could not be done is due, however often it is said that it could not.
func TestATimerThatCouldNotBeAskedForIsNotTakenForDone(t *testing.T) {
	due := ledger.Timer{Kind: ledger.RingEnds, Call: "call_1", Due: morning.UnixMilli()}
	for _, why := range []error{writer.ErrOverloaded, writer.ErrStopping, writer.ErrNoLeader, ledger.ErrUnavailable} {
		o := newOffice(t)
		o.clerk.left, o.clerk.why = 0, why
		timers := NewTimers(o.Service, nil, o.Logger)
		if _, err := timers.do(t.Context(), tried{next: due}); !errors.Is(err, why) {
			t.Errorf("%v is told as %v", why, err)
		}
		o.clerk.left = 1
		if _, err := timers.do(t.Context(), tried{next: due}); err != nil {
			t.Errorf("a call that is not there is told as %v", err)
		}
	}
}

// The event that made it so may be one whose answer got lost: nobody was told its position.
func TestWhatWasSoAlreadyIsShownAsWell(t *testing.T) {
	o := newOffice(t)
	ann, bob := o.signsUp("ann@example.com"), o.signsUp("bob@example.com")
	key, err := o.CreateAPIKey(t.Context(), CreateAPIKey{Name: "gifts", Scopes: []string{ledger.ScopeDeduct}})
	if err != nil {
		t.Fatal(err)
	}
	for what, does := range map[string]func() (Receipt, error){
		"a block": func() (Receipt, error) {
			blocked, err := o.Block(as(t, ann), UserID{bob.User.ID})
			return blocked.Receipt, err
		},
		"a key's end": func() (Receipt, error) {
			revoked, err := o.RevokeAPIKey(t.Context(), RevokeAPIKey{Key: key.Key})
			return revoked.Receipt, err
		},
	} {
		if _, err := does(); err != nil {
			t.Fatal(err)
		}
		last := o.clerk.last
		o.shown = 0
		got, err := does()
		if err != nil || got.Position != last || o.clerk.last != last {
			t.Errorf("%s again is at %d, not %d: %v", what, got.Position, last, err)
		}
		if bearer := BearerOf(o.vault.Hash(ledger.PurposeAPIKey, key.Key)); what == "a key's end" &&
			!slices.Contains(got.RememberFor(), bearer) {
			t.Errorf("who has the key is not to see its end, but %v", got.RememberFor())
		}
	}
}

// Whoever has the key waits for its end from then on.
func TestAKeysEndDoesNotWaitForTheViews(t *testing.T) {
	o := newOffice(t)
	key, err := o.CreateAPIKey(t.Context(), CreateAPIKey{Name: "gifts", Scopes: []string{ledger.ScopeDeduct}})
	if err != nil {
		t.Fatal(err)
	}
	shown := false
	o.Wait = func(context.Context, uint64) error {
		if !shown {
			return context.DeadlineExceeded
		}
		return nil
	}
	o.APIKeyHash = func(_ context.Context, id string) (string, error) {
		if !shown || id != key.ID {
			return "", nil
		}
		return o.vault.Hash(ledger.PurposeAPIKey, key.Key), nil
	}
	behind := &ledger.Refusal{Code: "views_behind"}
	if got, err := o.RevokeAPIKey(t.Context(), RevokeAPIKey{ID: key.ID}); !errors.Is(err, behind) {
		t.Errorf("a key that the views do not show is told as %+v, %v", got, err)
	}
	bearer := BearerOf(o.vault.Hash(ledger.PurposeAPIKey, key.Key))
	revokes := func(in RevokeAPIKey) {
		t.Helper()
		got, err := o.RevokeAPIKey(t.Context(), in)
		if err != nil || !got.Revoked || got.Position != o.clerk.last || !slices.Contains(got.RememberFor(), bearer) {
			t.Errorf("a key is told as %+v, %v, for %v", got, err, got.RememberFor())
		}
	}
	revokes(RevokeAPIKey{Key: key.Key})
	shown = true
	revokes(RevokeAPIKey{ID: key.ID})
	if got, err := o.RevokeAPIKey(t.Context(), RevokeAPIKey{ID: "key_of_nobody"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a key that there is not is told as %+v, %v", got, err)
	}
}

// A failing clerk does not get at what was charged before.
type failingClerk struct {
	*clerk
	err error
}

func (c failingClerk) DoAll(_ context.Context, all []writer.Command) ([]writer.Outcome, error) {
	outcomes := make([]writer.Outcome, len(all))
	for i := range outcomes {
		outcomes[i].Err = c.err
	}
	return outcomes, nil
}

// Each charge of many is answered by itself: no other place tells what the store has said.
func TestWhyAChargeOfManyCannotBeToldIsLogged(t *testing.T) {
	broken := errors.New("input/output error")
	for _, tried := range []struct {
		err  error
		logs bool
	}{
		{fmt.Errorf("read the first event: %w", ledger.Unavailable(t.Context(), broken)), true},
		{broken, true},
		{ledger.ErrUnavailable, false}, // once for all who lack a document, where that was read
		{writer.ErrKeyReused, false},
	} {
		o := newOffice(t)
		var said strings.Builder
		o.Logger, o.Writer = slog.New(slog.NewTextHandler(&said, nil)), failingClerk{o.clerk, tried.err}
		o.HashRequest = func(string, []byte) []byte { return nil }
		got, err := o.DeductMany(t.Context(), DeductMany{Items: []DeductItem{{UserID: "usr_1", Credits: 1}}})
		if err != nil || !errors.Is(got[0].Err, tried.err) {
			t.Errorf("it is answered with %+v and %v", got, err)
		}
		if logs := strings.Contains(said.String(), "a charge of many failed"); logs != tried.logs {
			t.Errorf("of %v the log says %q", tried.err, said.String())
		}
	}
}

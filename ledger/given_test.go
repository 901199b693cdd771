package ledger

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"truebond/events"
)

// morning is when every scene begins.
var morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// judge is a test, or a run of a property.
type judge interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A scene is what has happened so far, and what follows from it.
type scene struct {
	t    judge
	now  time.Time
	docs map[Ref]any
	last uint64 // position
	log  []events.Event
}

// A step is something that happens in a scene.
type step func(*scene)

// given is a scene in which the steps have happened.
func given(t judge, steps ...step) *scene {
	t.Helper()
	return (&scene{t: t, now: morning, docs: map[Ref]any{}}).and(steps...)
}

// and lets more happen.
func (s *scene) and(steps ...step) *scene {
	s.t.Helper()
	for _, do := range steps {
		do(s)
	}
	return s
}

// did is a command that was accepted.
func did(d Decision) step {
	return func(s *scene) {
		s.t.Helper()
		o := s.when(d)
		if o.err != nil {
			s.t.Fatalf("a step of the scene was refused: %v", o.err)
		}
		s.apply(o.payload, o.moves)
	}
}

// later lets time pass.
func later(d time.Duration) step { return func(s *scene) { s.now = s.now.Add(d) } }

// on is a time of day at which the scene goes on.
func on(at time.Time) step { return func(s *scene) { s.now = at } }

// An outcome is what a decision came to in a scene. It has not happened yet.
type outcome struct {
	*scene
	payload events.Payload
	moves   []events.Move
	err     error
}

// when decides a command as the writer does: with nothing at hand at first, again and
// again with what it asked for.
func (s *scene) when(d Decision) outcome {
	s.t.Helper()
	loaded := lazily{scene: s, loaded: map[Ref]bool{}}
	for range 5 {
		tx := NewTx(s.now, loaded)
		payload, moves, err := d(tx)
		if len(tx.Missing()) == 0 {
			if (payload == nil) == (err == nil) {
				s.t.Fatalf("a decision gives either an event or an error, not %v and %v", payload, err)
			}
			return outcome{s, payload, moves, err}
		}
		for _, ref := range tx.Missing() {
			loaded.loaded[ref] = true
		}
	}
	s.t.Fatalf("the decision still asks for documents after 5 runs")
	return outcome{}
}

// lazily are a scene's documents, of which only some are at hand.
type lazily struct {
	*scene
	loaded map[Ref]bool
}

func (l lazily) Document(ref Ref) (any, bool) {
	if !l.loaded[ref] {
		return nil, false
	}
	return l.docs[ref], true
}

// then is the event that it must have come to. It returns the scene after it; the one
// before stays as it is.
func (o outcome) then(want events.Payload) *scene {
	o.t.Helper()
	if o.err != nil {
		o.t.Fatalf("refused: %v\nwant %#v", o.err, want)
	}
	if !reflect.DeepEqual(o.payload, want) {
		o.t.Fatalf("it came to %#v\nwant       %#v", o.payload, want)
	}
	after := *o.scene
	after.docs, after.log = maps.Clone(o.docs), slices.Clone(o.log)
	after.apply(o.payload, o.moves)
	return &after
}

// moving is what it must have moved.
func (o outcome) moving(want ...events.Move) outcome {
	o.t.Helper()
	if !slices.Equal(o.moves, want) {
		o.t.Fatalf("it moves %v\nwant     %v", o.moves, want)
	}
	return o
}

// refused is the code, and the field if one is at fault, that it must be refused with.
func (o outcome) refused(code string, field ...string) {
	o.t.Helper()
	var r *Refusal
	if !errors.As(o.err, &r) {
		o.t.Fatalf("it came to %#v and %v\nwant the refusal %s", o.payload, o.err, code)
	}
	if want := append(field, ""); r.Code != code || r.Field != want[0] {
		o.t.Fatalf("refused with %q about %q: %s\nwant %q about %q", r.Code, r.Field, r.Detail, code, want[0])
	}
	if r.Detail == "" {
		o.t.Fatalf("the refusal %s says nothing", code)
	}
}

// has is how many credits a user must have to spend.
func (s *scene) has(user string, credits int64) *scene {
	s.t.Helper()
	if got := doc(s, Accounts, user).Available(s.now); got != credits {
		s.t.Fatalf("%s has %d credits, want %d", user, got, credits)
	}
	return s
}

// doc is a document of a scene.
func doc[D any](s *scene, fold events.Fold[D], key string) D {
	d, _ := s.docs[Ref{fold.Name, key}].(D)
	return d
}

// apply folds an event into all documents, and holds each fold to its contract: it
// keeps the document, leaves the old one as it was, and makes one that can be stored.
func (s *scene) apply(payload events.Payload, moves []events.Move) {
	s.t.Helper()
	s.last++
	e := events.Event{Position: s.last, Key: "key", Time: s.now, Effective: s.now, Moves: moves, Data: payload}
	for _, m := range moves {
		if err := m.Validate(); err != nil {
			s.t.Fatalf("%s: %v", payload.Type(), err)
		}
	}
	for _, f := range Folds() {
		for _, key := range f.Keys(e) {
			ref := Ref{f.Name, key}
			before, ok := s.docs[ref]
			if !ok {
				before = f.Zero()
			}
			was := stored(s.t, before)
			after, keep := f.Evolve(before, key, e)
			if !keep {
				s.t.Fatalf("%s deletes a document of %s", payload.Type(), f.Name)
			}
			if stored(s.t, before) != was {
				s.t.Fatalf("%s changes an old document of %s", payload.Type(), f.Name)
			}
			again, err := f.Decode([]byte(stored(s.t, after)))
			if err != nil || !reflect.DeepEqual(again, after) {
				s.t.Fatalf("a document of %s is not what was stored: %#v, %v\nwant %#v", f.Name, again, err, after)
			}
			s.docs[ref] = after
		}
	}
	s.log = append(s.log, e)
}

func stored(t judge, doc any) string {
	t.Helper()
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("store %T: %v", doc, err)
	}
	return string(body)
}

// Prices and packages of every scene that is open.
var (
	menu  = events.PricesSet{Version: 1, Message: 1, AudioMinute: 5, VideoMinute: 10, SignupBonus: 10}
	shelf = events.PackagesSet{Version: 1, Packages: []events.Package{
		{Name: "small", Credits: 50, Prices: map[events.Asset]int64{events.INR: 5000, events.USD: 99}},
		{Name: "medium", Credits: 120, Prices: map[events.Asset]int64{events.INR: 10000}},
	}}
)

// open is a server that has prices and packages.
func open(s *scene) { s.and(did(SetPrices(menu)), did(SetPackages(shelf))) }

// sealed stands for personal text that nobody here can read.
func sealed(text string) events.Sealed {
	return events.Sealed{Owner: "somebody", Ref: "somewhere", Box: []byte(text)}
}

// newcomer is who signs up under this name.
func newcomer(user string) NewUser {
	return NewUser{
		User: user, EmailHash: "hash of " + user, BirthDate: "2000-01-31",
		Email: sealed(user + "@example.org"), Name: sealed(user), SealedBirthDate: sealed("2000-01-31"),
		Password: sealed("secret"), Session: session(user, 1), BonusLot: user + "-bonus",
	}
}

// session is a user's session with its n-th refresh token. It lives for thirty days.
func session(user string, n int) events.Session {
	return events.Session{
		ID: "ses_" + user, RefreshHash: "token " + string(rune('0'+n)), ExpiresAt: morning.AddDate(0, 0, 30),
	}
}

// signedUp are people who have signed up, each with a bonus of 10 credits.
func signedUp(users ...string) step {
	return func(s *scene) {
		s.t.Helper()
		for _, u := range users {
			s.and(did(SignUp(newcomer(u))))
		}
	}
}

// erased is a user whose data is unreadable now.
func erased(user string) step { return did(EraseUser(user, "asked for it")) }

// spentAllBut is a user who is left with so many credits.
func spentAllBut(user string, credits int64) step {
	return func(s *scene) {
		s.t.Helper()
		s.and(did(DeductCredits(user, doc(s, Accounts, user).Available(s.now)-credits, "a gift")))
	}
}

func TestASceneForgetsWhatHasNotHappened(t *testing.T) {
	s := given(t, open, signedUp("ann"))
	s.when(DeductCredits("ann", 4, "a gift")).
		then(events.CreditsDeducted{User: "ann", Credits: 4, Reason: "a gift", Available: 6}).
		has("ann", 6)
	s.has("ann", 10)
}

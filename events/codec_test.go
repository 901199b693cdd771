package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func newTestCodec(t testing.TB) *Codec {
	t.Helper()
	c, err := NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryTypeComesBackAsItWas(t *testing.T) {
	codec := newTestCodec(t)
	for _, typ := range Types() {
		t.Run(typ.Name, rapid.MakeCheck(func(t *rapid.T) {
			e := anEvent(t, typ)
			body, err := codec.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if plain := plainly(t, typ, e); string(body) != plain {
				t.Fatalf("it is written as\n%s\nand encoding/json writes\n%s", body, plain)
			}
			back, err := codec.Decode(e.Position, body)
			if err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
			if !reflect.DeepEqual(back, e) {
				t.Fatalf("got  %#v\nwant %#v\n%s", back, e, body)
			}
		}))
	}
}

// plainly is an event's body as encoding/json writes it.
func plainly(t *rapid.T, typ Type, e Event) string {
	w := wire[Payload]{
		Key: e.Key, Type: typ.Name, Schema: typ.Schema, Time: e.Time, Actor: e.Actor,
		Cause: e.Cause, Request: e.Request, Moves: e.Moves, Data: e.Data,
	}
	if !e.Effective.Equal(e.Time) {
		w.Effective = e.Effective
	}
	body, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestHeadersRepeatTheEvent(t *testing.T) {
	codec := newTestCodec(t)
	for _, typ := range Types() {
		e := sample(typ)
		h := map[string]string{}
		codec.EachHeader(e, func(name, value string) { h[name] = value })
		want := map[string]string{
			"ce-specversion": "1.0", "ce-source": "/truebond", "content-type": "application/json",
			"ce-id": e.Key, "ce-type": typ.Name, "ce-time": "2026-01-02T03:04:05.006Z",
			"ce-dataschema": fmt.Sprintf("/schemas/%s/%d", typ.Name, typ.Schema),
		}
		if s := e.Data.Subjects(); len(s) > 0 {
			want["ce-subject"] = s[0]
		}
		if !reflect.DeepEqual(h, want) {
			t.Errorf("%s: got %v, want %v", typ.Name, h, want)
		}
	}
}

func TestEveryTypeIsNamedAsTheLogNamesTypes(t *testing.T) {
	for _, typ := range Types() {
		noun, verb, found := strings.Cut(typ.Name, ".")
		if !found || strings.Trim(noun+verb, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%q is not `noun.verb`", typ.Name)
		}
		if typ.Schema < 1 {
			t.Errorf("%s has schema %d", typ.Name, typ.Schema)
		}
	}
}

var rewrite = flag.Bool("golden", false, "write the golden bodies of event types that have none yet")

// A golden body is one that was written once. It must be read for ever, and while the
// type's schema is the same, be written the same.
func TestGoldenBodiesAreReadForEver(t *testing.T) {
	codec := newTestCodec(t)
	for _, typ := range Types() {
		name := fmt.Sprintf("%s.%d.json", typ.Name, typ.Schema)
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "golden", name)
			golden, err := os.ReadFile(path)
			if os.IsNotExist(err) && *rewrite {
				writeGolden(t, codec, path, sample(typ))
				return
			}
			if err != nil {
				t.Fatalf("%v; if the type is new: go test ./events -run Golden -golden", err)
			}
			compact := &bytes.Buffer{}
			if err := json.Compact(compact, golden); err != nil {
				t.Fatal(err)
			}
			e, err := codec.Decode(7, compact.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if want := sample(typ); !reflect.DeepEqual(e, want) {
				t.Errorf("it is read as\n%#v, and was\n%#v", e, want)
			}
			again, err := codec.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, compact.Bytes()) {
				t.Errorf("it is written as\n%s, and was\n%s", again, compact)
			}
		})
	}
	olderGoldenBodiesAreRead(t, codec)
}

// olderGoldenBodiesAreRead reads those of schemas that are written no more.
func olderGoldenBodiesAreRead(t *testing.T, codec *Codec) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*.json"))
	if err != nil || len(files) < len(Types()) {
		t.Fatalf("%d golden bodies: %v", len(files), err)
	}
	for _, path := range files {
		body, err := os.ReadFile(path) // #nosec G304 -- of this package
		if err != nil {
			t.Fatal(err)
		}
		if _, err := codec.Decode(7, body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func writeGolden(t *testing.T, codec *Codec, path string, e Event) {
	t.Helper()
	body, err := codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	indented := &bytes.Buffer{}
	if err := json.Indent(indented, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	if err := os.WriteFile(path, indented.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEffectiveIsLeftOutWhenItIsTheTime(t *testing.T) {
	codec := newTestCodec(t)
	e := sample(typeOf[UserBlocked](1))
	e.Effective = e.Time
	body, err := codec.Encode(e)
	if err != nil || bytes.Contains(body, []byte("effective")) {
		t.Fatalf("%s, %v", body, err)
	}
	back, err := codec.Decode(7, body)
	if err != nil || !back.Effective.Equal(e.Time) {
		t.Fatalf("%v, %v", back.Effective, err)
	}
}

func TestWhatMustNotBeInTheLogIsRefused(t *testing.T) {
	codec := newTestCodec(t)
	message := MessageSent{Message: "msg_1", From: "usr_1", To: "usr_2", Body: sealedFor("k", "body")}
	move := Move{From: LotOf("usr_1", "lot_1"), To: Spent(Paid, "messages"), Asset: Credit, Amount: 1}
	with := func(change func(m *Move)) func(e *Event) {
		return func(e *Event) {
			m := move
			change(&m)
			e.Moves = []Move{move, m}
		}
	}
	key := func(key string) func(e *Event) {
		return func(e *Event) { e.Key, e.Data = key, UserBlocked{User: "usr_1", Blocked: "usr_2"} }
	}
	body := func(s Sealed) func(e *Event) {
		return func(e *Event) { m := message; m.Body = s; e.Data = m }
	}
	for name, change := range map[string]func(e *Event){
		"says nothing":           func(e *Event) { e.Data = nil },
		"unknown type":           func(e *Event) { e.Data = unknown{} },
		"no key":                 key(""),
		"a long key":             key(strings.Repeat("k", KeyMax+1)),
		"a key that breaks off":  key("k\r\nNats-Rollup: all"),
		"a key that is no text":  key("k\xff"),
		"no time":                func(e *Event) { e.Time = time.Time{} },
		"a time too fine":        func(e *Event) { e.Time = e.Time.Add(time.Microsecond) },
		"a time too far":         func(e *Event) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no effective time":      func(e *Event) { e.Effective = time.Time{} },
		"an effective too far":   func(e *Event) { e.Effective = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"nobody asked":           func(e *Event) { e.Actor = Actor{} },
		"an unknown actor":       func(e *Event) { e.Actor = Actor{Kind: "ghost", ID: "1"} },
		"an actor that is two":   func(e *Event) { e.Actor = Actor{Kind: "user/usr_1", ID: "2"} },
		"an actor that is none":  func(e *Event) { e.Actor.ID = "\xff" },
		"nothing moved":          with(func(m *Move) { m.Amount = 0 }),
		"moved backwards":        with(func(m *Move) { m.Amount = -1 }),
		"moved nowhere":          with(func(m *Move) { m.To = m.From }),
		"moved from nowhere":     with(func(m *Move) { m.From = "elsewhere" }),
		"moved to nowhere":       with(func(m *Move) { m.To = "elsewhere" }),
		"moved into money":       with(func(m *Move) { m.To = "bank" }),
		"moved another asset":    with(func(m *Move) { m.Asset = INR }),
		"moved an unknown asset": with(func(m *Move) { m.Asset = "XAU" }),
		"too long":               body(Sealed{Owner: "usr_1", Ref: SealedRef("k", "body"), Box: make([]byte, BodyMax)}),
		"not sealed":             body(Sealed{}),
		"sealed elsewhere":       body(sealedFor("another key", "body")),
		"sealed as another":      body(sealedFor("k", "name")),
		"optional, not sealed": func(e *Event) {
			u := sample(typeOf[UserSignedUp](1)).Data.(UserSignedUp)
			u.Email, u.Name = sealedFor("k", "email"), sealedFor("k", "name")
			u.BirthDate, u.Password = sealedFor("k", "birth_date"), sealedFor("k", "password")
			u.Phone = &Sealed{}
			e.Data = u
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := sample(typeOf[MessageSent](1))
			e.Key, e.Data, e.Moves = "k", message, []Move{move}
			if _, err := codec.Encode(e); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			change(&e)
			if body, err := codec.Encode(e); err == nil {
				t.Fatalf("it was written: %s", body)
			}
		})
	}
}

type unknown struct{}

func (unknown) Type() string       { return "nothing.happened" }
func (unknown) Subjects() []string { return nil }

func TestWhatIsNoEventIsNotRead(t *testing.T) {
	codec := newTestCodec(t)
	good, err := codec.Encode(sample(typeOf[MessageSent](1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"broken off":        {`}`, ``},
		"an unknown type":   {`"type":"message.sent"`, `"type":"message.unsent"`},
		"no schema":         {`"schema":1`, `"schema":0`},
		"a newer schema":    {`"schema":1`, `"schema":2`},
		"no key":            {`"key":"`, `"kez":"`},
		"another key":       {`"key":"`, `"key":"x`},
		"an unknown actor":  {`"actor":"user/`, `"actor":"ghost/`},
		"a wrong move":      {`"amount":`, `"amount":-`},
		"a text for number": {`"charged":`, `"charged":"one","was":`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.ReplaceAll(string(good), change[0], change[1])
			if bad == string(good) {
				t.Fatal("nothing was changed")
			}
			e, err := codec.Decode(1, []byte(bad))
			if !errors.Is(err, ErrUnreadable) {
				t.Fatalf("it was read as %#v, %v", e, err)
			}
			if newer := name == "a newer schema" || name == "an unknown type"; errors.Is(err, ErrNewer) != newer {
				t.Fatalf("that a newer program has written it is not %v: %v", newer, err)
			}
		})
	}
}

// drunk is an event type whose JSON was another one twice before.
type drunk struct {
	Guest   string `json:"guest"`
	Glasses int    `json:"glasses"`
	Drink   string `json:"drink"`
}

func (drunk) Type() string         { return "glass.drunk" }
func (d drunk) Subjects() []string { return []string{d.Guest} }

func TestAnOldSchemaIsBroughtUp(t *testing.T) {
	onwards := func(change func(map[string]any)) func(json.RawMessage) (json.RawMessage, error) {
		return func(old json.RawMessage) (json.RawMessage, error) {
			var fields map[string]any
			if err := json.Unmarshal(old, &fields); err != nil {
				return nil, err
			}
			change(fields)
			return json.Marshal(fields)
		}
	}
	typ := typeOf[drunk](3).
		from(1, onwards(func(f map[string]any) { f["guest"] = f["who"]; delete(f, "who") })).
		from(2, onwards(func(f map[string]any) { f["drink"] = "water" }))
	want := drunk{Guest: "ann", Glasses: 2, Drink: "water"}
	for schema, old := range map[int]string{
		1: `{"who":"ann","glasses":2}`,
		2: `{"guest":"ann","glasses":2}`,
		3: `{"guest":"ann","glasses":2,"drink":"water"}`,
	} {
		got, err := typ.decode(schema, json.RawMessage(old))
		if err != nil || got != want {
			t.Errorf("schema %d is read as %#v, %v", schema, got, err)
		}
	}
	for _, schema := range []int{-1, 0, 4} {
		if got, err := typ.decode(schema, json.RawMessage(`{}`)); err == nil {
			t.Errorf("schema %d is read as %#v", schema, got)
		}
	}
	if _, err := typ.decode(1, json.RawMessage(`[]`)); err == nil {
		t.Error("a list is read")
	}
	if _, err := typeOf[drunk](3).from(2, nil).decode(1, json.RawMessage(`{}`)); err == nil {
		t.Error("a schema without a way up is read")
	}
}

// FuzzDecode: no body brings the codec down, and what it reads it writes as an event
// that it reads as the same.
func FuzzDecode(f *testing.F) {
	codec := newTestCodec(f)
	for _, typ := range Types() {
		body, err := codec.Encode(sample(typ))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"key":"k","type":"user.blocked","schema":1,"time":"9999-12-31T23:59:59-01:00",` +
		`"actor":"user","data":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := codec.Decode(math.MaxUint64, body)
		if err != nil {
			return
		}
		once, err := codec.Encode(e)
		if err != nil {
			t.Fatalf("it cannot be written: %v\n%#v", err, e)
		}
		again, err := codec.Decode(math.MaxUint64, once)
		if err != nil {
			t.Fatalf("it cannot be read again: %v\n%s", err, once)
		}
		twice, err := codec.Encode(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("it became another event: %v\n%s\n%s", err, once, twice)
		}
	})
}

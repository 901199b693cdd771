package events

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

// sample is an event of a type with every field filled, always the same.
func sample(typ Type) Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	e := Event{
		Position: 7, Key: "api/usr_1/" + typ.Name, Time: at, Effective: at.Add(-time.Minute),
		Actor: Actor{Kind: ActorUser, ID: "usr_1"}, Cause: 3, Request: []byte("hmac"),
		Moves: []Move{
			{From: LotOf("usr_1", "lot_1"), To: Spent(Paid, "messages"), Asset: Credit, Amount: 2},
			{From: Revenue("messages"), To: Deferred("lot_1"), Asset: INR, Amount: 199},
		},
	}
	e.Data = filled(typ, e.Key, constant{}).(Payload)
	return e
}

// anEvent is any event of a type.
func anEvent(t *rapid.T, typ Type) Event {
	at := drawTime(t)
	printable := rapid.RuneFrom(nil, unicode.Letter, unicode.Digit, unicode.Punct, unicode.Symbol)
	e := Event{
		Position: rapid.Uint64Min(1).Draw(t, "position"),
		Key:      rapid.StringOfN(printable, 1, 100, KeyMax).Draw(t, "key"),
		Time:     at, Effective: at,
		Actor: Actor{Kind: rapid.SampledFrom([]ActorKind{
			ActorUser, ActorApp, ActorStripe, ActorOperator, ActorSystem,
		}).Draw(t, "kind")},
		Cause: rapid.Uint64().Draw(t, "cause"),
	}
	e.Actor.ID = rapid.String().Draw(t, "actor")
	if rapid.Bool().Draw(t, "outside") {
		e.Effective = drawTime(t)
	}
	if rapid.Bool().Draw(t, "asked") {
		e.Request = rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "request")
	}
	for range rapid.IntRange(0, 3).Draw(t, "moves") {
		e.Moves = append(e.Moves, Move{
			From: LotOf("usr_1", "lot_1"), To: Spent(Promotional, "calls"), Asset: Credit,
			Amount: rapid.Int64Min(1).Draw(t, "amount"),
		})
	}
	e.Data = filled(typ, e.Key, drawn{t}).(Payload)
	return e
}

func drawTime(t *rapid.T) time.Time {
	return time.UnixMilli(rapid.Int64Range(1, 253402300799999).Draw(t, "time")).UTC()
}

// A source gives values to fill fields with.
type source interface {
	text(name string) string
	number(kind reflect.Type) int64
	truth() bool
	time() time.Time
	box() []byte
	length() int  // of lists and maps
	absent() bool // for what may be
}

type constant struct{}

func (constant) text(name string) string   { return name + "_1" }
func (constant) number(reflect.Type) int64 { return 42 }
func (constant) truth() bool               { return true }
func (constant) time() time.Time           { return time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.UTC) }
func (constant) box() []byte               { return []byte("nonce and ciphertext") }
func (constant) length() int               { return 2 }
func (constant) absent() bool              { return false }

type drawn struct{ t *rapid.T }

func (d drawn) text(name string) string { return rapid.String().Draw(d.t, name) }
func (d drawn) truth() bool             { return rapid.Bool().Draw(d.t, "truth") }
func (d drawn) time() time.Time         { return drawTime(d.t) }
func (d drawn) box() []byte             { return rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(d.t, "box") }
func (d drawn) length() int             { return rapid.IntRange(1, 3).Draw(d.t, "length") }
func (d drawn) absent() bool            { return rapid.Bool().Draw(d.t, "absent") }

func (d drawn) number(kind reflect.Type) int64 {
	n := rapid.Int64().Draw(d.t, "number")
	if kind.Kind() == reflect.Uint64 {
		return n & (1<<63 - 1)
	}
	return n
}

// filled is a payload whose fields all come from a source, sealed for the key.
func filled(typ Type, key string, from source) any {
	v := reflect.New(typ.Go).Elem()
	fill(v, typ.Name, key, from)
	return v.Interface()
}

func fill(v reflect.Value, name, key string, from source) {
	switch v.Type() {
	case reflect.TypeFor[Sealed]():
		s := sealedFor(key, name)
		s.Owner, s.Box = from.text("owner"), from.box()
		v.Set(reflect.ValueOf(s))
		return
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(from.time()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(from.text(name))
	case reflect.Int, reflect.Int64:
		v.SetInt(from.number(v.Type()))
	case reflect.Uint64:
		v.SetUint(uint64(from.number(v.Type())))
	case reflect.Bool:
		v.SetBool(from.truth())
	case reflect.Pointer:
		if !from.absent() {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), name, key, from)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			fill(v.Field(i), field, key, from)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), from.length(), 3))
		for i := range v.Len() {
			fill(v.Index(i), name, key, from)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range from.length() {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			k.SetString(fmt.Sprint(from.text(name), i))
			fill(e, name, key, from)
			v.SetMapIndex(k, e)
		}
	default:
		panic("the sample has no " + v.Type().String() + " yet, which " + name + " needs")
	}
}

func sealedFor(key, field string) Sealed {
	return Sealed{Owner: "usr_1", Ref: SealedRef(key, field), Box: []byte("nonce and ciphertext")}
}

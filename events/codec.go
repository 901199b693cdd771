package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// BodyMax bounds an event's body in bytes. The longest message takes a tenth of it.
const BodyMax = 256 << 10

// A Codec writes events as the log keeps them and reads them for ever after.
type Codec struct {
	types map[string]Type
}

// NewCodec knows all of Types, each of which it tries once.
func NewCodec() (*Codec, error) {
	c := &Codec{types: map[string]Type{}}
	for _, t := range Types() {
		if _, twice := c.types[t.Name]; twice {
			return nil, fmt.Errorf("the event type %s stands twice in the registry", t.Name)
		}
		if _, err := t.decode(t.Schema, json.RawMessage("{}")); err != nil {
			return nil, fmt.Errorf("try event type: %w", err)
		}
		for n := 1; n < t.Schema; n++ {
			if t.upcasts[n] == nil {
				return nil, fmt.Errorf("the event type %s has no way up from schema %d", t.Name, n)
			}
		}
		c.types[t.Name] = t
	}
	return c, nil
}

// wire is an event's JSON. It holds the whole event but its position. D is the payload:
// itself when it is written, and its JSON as long as its type is not known.
type wire[D any] struct {
	Key       string    `json:"key"`
	Type      string    `json:"type"`
	Schema    int       `json:"schema"`
	Time      time.Time `json:"time"`
	Effective time.Time `json:"effective,omitzero"` // left out when it is Time
	Actor     Actor     `json:"actor"`
	Cause     uint64    `json:"cause,omitempty"`
	Request   []byte    `json:"request,omitempty"`
	Moves     []Move    `json:"moves,omitempty"`
	Data      D         `json:"data"`
}

// Encode writes an event's body. It refuses what must never be in the log: a move that
// is not one, personal text that is not sealed for this event, an unknown type.
func (c *Codec) Encode(e Event) ([]byte, error) {
	t, err := c.check(e)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", e.Key, err)
	}
	w := wire[Payload]{
		Key: e.Key, Type: t.Name, Schema: t.Schema, Time: e.Time, Actor: e.Actor,
		Cause: e.Cause, Request: e.Request, Moves: e.Moves, Data: e.Data,
	}
	if !e.Effective.Equal(e.Time) {
		w.Effective = e.Effective
	}
	body, err := write(w)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", e.Key, err)
	}
	if len(body) > BodyMax {
		return nil, fmt.Errorf("encode %q: its body has %d bytes; %d are allowed", e.Key, len(body), BodyMax)
	}
	return body, nil
}

// Texts are the personal texts in an event, of a type that the codec knows.
func (c *Codec) Texts(e Event) (texts []Sealed) {
	for _, text := range c.types[e.Data.Type()].texts(e.Data) {
		texts = append(texts, text)
	}
	return texts
}

// check refuses an event that must not be in the log, and tells its type.
func (c *Codec) check(e Event) (Type, error) {
	if e.Data == nil {
		return Type{}, errors.New("it says nothing: Data is nil")
	}
	t, known := c.types[e.Data.Type()]
	switch {
	case !known:
		return t, fmt.Errorf("unknown event type %q", e.Data.Type())
	case e.Key == "" || len(e.Key) > KeyMax:
		return t, fmt.Errorf("its key has %d bytes; 1 to %d are allowed", len(e.Key), KeyMax)
	case !isPrintable(e.Key):
		return t, fmt.Errorf("its key %q is not printable text", e.Key)
	case !e.Actor.isKnown():
		return t, fmt.Errorf("it has no actor that can be read again: %q", e.Actor)
	case e.Time.IsZero() || !e.Time.Equal(e.Time.Truncate(time.Millisecond)):
		return t, fmt.Errorf("its time %v is not in whole milliseconds", e.Time)
	case e.Effective.IsZero():
		return t, errors.New("it has no effective time")
	case !hasPlainYear(e.Time) || !hasPlainYear(e.Effective):
		return t, errors.New("a time of it is beyond the year 9999")
	}
	for _, m := range e.Moves {
		if err := m.Validate(); err != nil {
			return t, err
		}
	}
	return t, t.checkSealed(e.Key, e.Data)
}

// isPrintable tells whether a text comes back from JSON, and stays in one line.
func isPrintable(text string) bool {
	if isPlain(text) {
		return true
	}
	strange := func(r rune) bool { return !unicode.IsPrint(r) }
	return utf8.ValidString(text) && !strings.ContainsFunc(text, strange)
}

// isPlain tells whether a text is of visible ASCII and spaces, as nearly all keys are.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// hasPlainYear tells whether RFC 3339 can write a time in UTC.
func hasPlainYear(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// Decode reads an event's body, of today's schema or an older one. Its errors are
// ErrUnreadable.
func (c *Codec) Decode(position uint64, body []byte) (Event, error) {
	e, err := c.decode(position, body)
	if err != nil {
		return Event{}, fmt.Errorf("%w: event %d: %w", ErrUnreadable, position, err)
	}
	return e, nil
}

func (c *Codec) decode(position uint64, body []byte) (Event, error) {
	var w wire[json.RawMessage]
	if err := json.Unmarshal(body, &w); err != nil {
		return Event{}, err
	}
	t, known := c.types[w.Type]
	if !known {
		return Event{}, fmt.Errorf("%w: this one does not know the type %q", ErrNewer, w.Type)
	}
	data, err := t.decode(w.Schema, w.Data)
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Position: position, Key: w.Key, Time: w.Time.UTC(), Effective: w.Effective.UTC(), Actor: w.Actor,
		Cause: w.Cause, Request: w.Request, Moves: w.Moves, Data: data,
	}
	if w.Effective.IsZero() {
		e.Effective = e.Time
	}
	if _, err := c.check(e); err != nil {
		return Event{}, err
	}
	return e, nil
}

// EachHeader tells what routing and tools need to know of an event without its body, by
// the CloudEvents 1.0 binding for NATS (binary mode). There are HeadersMax at most.
func (c *Codec) EachHeader(e Event, tell func(name, value string)) {
	name := e.Data.Type()
	tell("ce-specversion", "1.0")
	tell("ce-id", e.Key)
	tell("ce-source", "/truebond")
	tell("ce-type", name)
	tell("ce-time", e.Time.Format(time.RFC3339Nano))
	tell("ce-dataschema", c.types[name].dataSchema)
	tell("content-type", "application/json")
	if subjects := e.Data.Subjects(); len(subjects) > 0 {
		tell("ce-subject", subjects[0])
	}
}

// HeadersMax is how many headers EachHeader tells at most.
const HeadersMax = 8

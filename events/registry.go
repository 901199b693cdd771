package events

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Type is one event type as the log knows it: its name, today's schema number, how
// to read it, and how to bring older schemas up to today's.
type Type struct {
	Name       string
	Schema     int
	Go         reflect.Type // of the payload
	read       func(data []byte) (Payload, error)
	sealed     []sealedField
	dataSchema string // what headers call its JSON schema
	// upcasts[n] turns the JSON of schema n into that of schema n+1.
	upcasts map[int]func(json.RawMessage) (json.RawMessage, error)
}

// Types are all event types, a list a feature. What is here is read for ever.
func Types() []Type {
	return slices.Concat(userTypes, sessionTypes, apiKeyTypes, priceTypes, creditTypes,
		paymentTypes, blockTypes, messageTypes, callTypes)
}

// typeOf is the type of P, whose JSON has this schema number today.
func typeOf[P Payload](schema int) Type {
	var zero P
	return Type{
		Name:       zero.Type(),
		Schema:     schema,
		dataSchema: "/schemas/" + zero.Type() + "/" + strconv.Itoa(schema),
		Go:         reflect.TypeFor[P](),
		read: func(data []byte) (Payload, error) {
			var p P
			if err := json.Unmarshal(data, &p); err != nil {
				return nil, err
			}
			return p, nil
		},
		sealed: sealedFields(reflect.TypeFor[P]()),
	}
}

// from adds how the JSON of an older schema becomes that of the next one. No type has an older
// schema yet.
func (t Type) from(schema int, up func(json.RawMessage) (json.RawMessage, error)) Type {
	upcasts := map[int]func(json.RawMessage) (json.RawMessage, error){schema: up}
	maps.Copy(upcasts, t.upcasts)
	t.upcasts = upcasts
	return t
}

// decode reads a payload that was written with an older schema or today's.
func (t Type) decode(schema int, data json.RawMessage) (Payload, error) {
	if schema > t.Schema {
		return nil, fmt.Errorf("%w: %s has the schema %d, and this one knows %d", ErrNewer, t.Name, schema, t.Schema)
	}
	if schema < 1 {
		return nil, fmt.Errorf("%s has no schema %d", t.Name, schema)
	}
	for ; schema < t.Schema; schema++ {
		up, ok := t.upcasts[schema]
		if !ok {
			return nil, fmt.Errorf("%s has no way up from schema %d", t.Name, schema)
		}
		var err error
		if data, err = up(data); err != nil {
			return nil, fmt.Errorf("%s from schema %d: %w", t.Name, schema, err)
		}
	}
	p, err := t.read(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return p, nil
}

// A sealedField is a field of a payload that holds personal text.
type sealedField struct {
	name     string
	index    int
	optional bool
}

func sealedFields(t reflect.Type) []sealedField {
	var found []sealedField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch f.Type {
		case reflect.TypeFor[Sealed]():
			found = append(found, sealedField{name, i, false})
		case reflect.TypeFor[*Sealed]():
			found = append(found, sealedField{name, i, true})
		}
	}
	return found
}

// checkSealed refuses a payload with personal text that is not sealed for this key.
func (t Type) checkSealed(key string, p Payload) error {
	for name, text := range t.texts(p) {
		if err := text.checkPlace(key, name); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}

// texts are the personal texts of a payload, each with the name of its field.
func (t Type) texts(p Payload) iter.Seq2[string, Sealed] {
	return func(yield func(string, Sealed) bool) {
		for _, f := range t.sealed {
			field := reflect.ValueOf(p).Field(f.index)
			if f.optional {
				if field.IsNil() {
					continue
				}
				field = field.Elem()
			}
			if !yield(f.name, field.Interface().(Sealed)) {
				return
			}
		}
	}
}

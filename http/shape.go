package http

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// An inShape says where each field of an In comes from. It is worked out once a route:
//
//	ID        string `param:"id"`                 the path
//	Limit     int    `query:"limit"`              the query; a pointer or a slice where that says more
//	Cursor    string `query:"cursor" empty:"ok"`  the query; `?cursor=` is refused without the second tag
//	Body      string `json:"body"`                the JSON body
//	Signature string `header:"Stripe-Signature"`  a header
//	Payload   []byte `body:"raw"`                 the exact bytes of the body
//
// A field with none of these tags is not filled, and cannot be sent.
type inShape struct {
	fields  map[string]*shape // of the JSON body
	params  map[string][]int  // name → index of the field
	queries map[string][]int
	headers map[string][]int
	empties map[string]bool // of the queries: those that may have nothing in them
	raw     []int
	outer   map[string]string // Go name → the name that a client knows
	places  map[string]string // that name → where it is: path, query or header
}

// A shape is what a JSON value must look like to be read into a Go type.
type shape struct {
	kind     shapeKind
	nullable bool
	fields   map[string]*shape // of an object
	elem     *shape            // of a list or a map
	typ      reflect.Type
}

type shapeKind int

const (
	shapeAny    shapeKind = iota // anything at all
	shapeCustom                  // whatever the type itself reads
	shapeText
	shapeWhole
	shapeReal
	shapeTruth
	shapeList
	shapeMap
	shapeObject
)

func shapeOfIn(in reflect.Type, raw bool) (*inShape, error) {
	if in.Kind() != reflect.Struct {
		return nil, fmt.Errorf("its In is %s and not a struct", in)
	}
	s := &inShape{fields: map[string]*shape{}, params: map[string][]int{}, queries: map[string][]int{},
		headers: map[string][]int{}, empties: map[string]bool{}, outer: map[string]string{}, places: map[string]string{}}
	shapes := map[reflect.Type]*shape{}
	for _, f := range reflect.VisibleFields(in) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		if err := s.add(f, shapes); err != nil {
			return nil, err
		}
	}
	if raw != (s.raw != nil) {
		return nil, fmt.Errorf("rawBody goes with a field tagged body:\"raw\", and with that alone")
	}
	if raw && len(s.fields) > 0 {
		return nil, fmt.Errorf("its body is taken raw and as JSON")
	}
	return s, nil
}

func (s *inShape) add(f reflect.StructField, shapes map[reflect.Type]*shape) error {
	for tag, places := range map[string]map[string][]int{
		"param": s.params, "query": s.queries, "header": s.headers,
	} {
		name, ok := f.Tag.Lookup(tag)
		if !ok {
			continue
		}
		if places[name] != nil {
			return fmt.Errorf("two fields take the %s %s", tag, name)
		}
		if !textual(f.Type, tag == "query") {
			return fmt.Errorf("the field %s cannot be read from a %s", f.Name, tag)
		}
		places[name] = f.Index
		s.empties[name] = mayBeEmpty(f)
		s.outer[f.Name], s.places[name] = name, tag
		if tag == "param" {
			s.places[name] = "path"
		}
		return nil
	}
	if f.Tag.Get("body") == "raw" {
		if f.Type != reflect.TypeFor[[]byte]() || s.raw != nil {
			return fmt.Errorf("exactly one []byte takes the raw body")
		}
		s.raw = f.Index
		return nil
	}
	return addField(s.fields, f, shapes)
}

func mayBeEmpty(f reflect.StructField) bool { return f.Tag.Get("empty") == "ok" }

// addField adds a field of a JSON object, if its tag makes it one.
func addField(fields map[string]*shape, f reflect.StructField, shapes map[reflect.Type]*shape) error {
	name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" || name == "-" {
		return nil
	}
	if strings.Contains(rest, "string") {
		return fmt.Errorf("the field %s is a number in a string", f.Name)
	}
	if fields[name] != nil {
		return fmt.Errorf("two fields are called %s", name)
	}
	shape, err := shapeOf(f.Type, shapes)
	fields[name] = shape
	return err
}

// shapeOf works a type out once, so that one that contains itself comes to an end.
func shapeOf(t reflect.Type, shapes map[reflect.Type]*shape) (*shape, error) {
	if known := shapes[t]; known != nil {
		return known, nil
	}
	s := &shape{typ: t}
	shapes[t] = s
	if t.Kind() == reflect.Pointer {
		inner, err := shapeOf(t.Elem(), shapes)
		if err != nil {
			return nil, err
		}
		*s = *inner
		s.nullable = true
		return s, nil
	}
	if readsItself(t) {
		s.kind = shapeCustom
		return s, nil
	}
	var err error
	switch t.Kind() {
	case reflect.Interface:
		s.kind, s.nullable = shapeAny, true
	case reflect.String:
		s.kind = shapeText
	case reflect.Bool:
		s.kind = shapeTruth
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.kind = shapeWhole
	case reflect.Float64:
		s.kind = shapeReal
	case reflect.Slice:
		s.kind = shapeList
		s.elem, err = shapeOf(t.Elem(), shapes)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("%s has keys that are no strings", t)
		}
		s.kind = shapeMap
		s.elem, err = shapeOf(t.Elem(), shapes)
	case reflect.Struct:
		s.kind, s.fields = shapeObject, map[string]*shape{}
		for _, f := range reflect.VisibleFields(t) {
			if f.Anonymous || !f.IsExported() {
				continue
			}
			if err := addField(s.fields, f, shapes); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("%s cannot be sent as JSON", t)
	}
	return s, err
}

func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t == reflect.TypeFor[[]byte]() || p.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// textual tells whether a type can be read from plain text.
func textual(t reflect.Type, repeated bool) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer:
		return textual(t.Elem(), false)
	case reflect.Slice:
		return repeated && textual(t.Elem(), false)
	case reflect.String, reflect.Bool, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}

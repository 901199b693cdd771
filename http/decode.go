package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	depthMax       = 16 // levels of objects and lists; our deepest request has 3
	fieldErrorsMax = 16 // faults told at once
	nameShownMax   = 64 // bytes of a client's own name that are shown back
)

// A fieldError names a field that is at fault, and says what is wrong with it. The
// pointer is a JSON pointer (RFC 6901) as a fragment.
type fieldError struct {
	Pointer string `json:"pointer"`
	In      string `json:"in,omitempty"` // query, path or header; the body if empty
	Detail  string `json:"detail"`
}

// decodeStrictly reads a JSON object into a pointer to a struct of this shape. It takes
// exactly what encoding/json takes, less: names that the shape does not list in just
// this spelling, names that come twice, null for what is not a pointer, text that is
// not Unicode, and too many levels. It never changes what it refuses.
func decodeStrictly(body []byte, fields map[string]*shape, into any) error {
	if !utf8.Valid(body) || loneSurrogate(body) {
		return newProblem("malformed_json", "The body is not Unicode text in UTF-8.")
	}
	if err := wellFormed(body); err != nil {
		return err
	}
	d := strict{scanner: scanner{text: body}}
	d.value(&shape{kind: shapeObject, fields: fields}, 0)
	if d.tooDeep {
		return newProblem("malformed_json", fmt.Sprintf("The body has more than %d levels.", depthMax))
	}
	if len(d.faults) > 0 {
		return newProblem("invalid_fields", "The body does not have the form that is wanted.", d.faults...)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read a body that was found good: %w", err)
	}
	return nil
}

func wellFormed(body []byte) error {
	if json.Valid(body) {
		return nil
	}
	var syntax *json.SyntaxError
	var raw json.RawMessage
	detail := "The body is not JSON."
	if err := json.Unmarshal(body, &raw); errors.As(err, &syntax) {
		detail = fmt.Sprintf("The body is not JSON: the fault is at byte %d.", syntax.Offset)
	}
	return newProblem("malformed_json", detail)
}

// strict walks over a body and notes what is wrong with it.
type strict struct {
	scanner
	path    []step // to where it is
	faults  []fieldError
	tooDeep bool
}

// A step leads into a member, or into an element if it has no name.
type step struct {
	name  []byte
	index int
}

func (d *strict) fault(detail string) {
	if len(d.faults) < fieldErrorsMax {
		d.faults = append(d.faults, fieldError{Pointer: d.pointer(), Detail: detail})
	}
}

func (d *strict) pointer() string {
	pointer := "#"
	for _, s := range d.path {
		if s.name == nil {
			pointer += "/" + strconv.Itoa(s.index)
			continue
		}
		pointer += "/" + pointerPart(string(s.name))
	}
	return pointer
}

// anything is the shape of what may be whatever it is.
var anything = &shape{kind: shapeAny, nullable: true}

func (d *strict) value(s *shape, depth int) {
	if d.tooDeep = d.tooDeep || depth > depthMax; d.tooDeep {
		return
	}
	switch first := d.next(); {
	case s.kind == shapeCustom:
		d.custom(s)
	case first == '{':
		d.object(s, depth)
	case first == '[':
		d.list(s, depth)
	default:
		if detail := scalarFault(s, d.scalar()); detail != "" {
			d.fault(detail)
		}
	}
}

func (d *strict) object(s *shape, depth int) {
	ok := s.kind == shapeObject || s.kind == shapeMap || s.kind == shapeAny
	if !ok {
		d.fault(wanted(s))
	}
	var seen names
	for d.enters(); !d.tooDeep && d.more(); {
		name := d.name()
		inner := anything
		d.path = append(d.path, step{name: name})
		switch {
		case seen.add(name):
			d.fault("comes twice")
		case s.kind == shapeMap:
			inner = s.elem
		case s.kind == shapeObject && s.fields[string(name)] == nil:
			d.fault("is not known here")
		case s.kind == shapeObject:
			inner = s.fields[string(name)]
		}
		d.value(inner, depth+1)
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *strict) list(s *shape, depth int) {
	inner := anything
	switch s.kind {
	case shapeAny:
	case shapeList:
		inner = s.elem
	default:
		d.fault(wanted(s))
	}
	d.enters()
	for i := 0; !d.tooDeep && d.more(); i++ {
		d.path = append(d.path, step{index: i})
		d.value(inner, depth+1)
		d.path = d.path[:len(d.path)-1]
	}
}

// names are those that an object has. A few are looked through sooner than a map is made.
type names struct {
	few  [8][]byte
	n    int
	many map[string]bool
}

// add tells whether the name is there already.
func (n *names) add(name []byte) (again bool) {
	for _, other := range n.few[:n.n] {
		if bytes.Equal(other, name) {
			return true
		}
	}
	if n.n < len(n.few) {
		n.few[n.n] = name
		n.n++
		return false
	}
	if n.many == nil {
		n.many = map[string]bool{}
	}
	again = n.many[string(name)]
	n.many[string(name)] = true
	return again
}

// custom lets a type read itself. What it is given is walked over all the same, since
// names that come twice and depth are ours to judge.
func (d *strict) custom(s *shape) {
	begun := d.at
	d.value(anything, 1)
	if d.tooDeep {
		return
	}
	raw := d.text[begun:d.at]
	if string(raw) == "null" {
		if !s.nullable {
			d.fault(wanted(s))
		}
		return
	}
	t := s.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
		d.fault(wanted(s))
	}
}

// scalarFault says what is wrong with a string, number or word.
func scalarFault(s *shape, text []byte) string {
	switch text[0] {
	case 'n':
		if s.nullable {
			return ""
		}
	case '"':
		if s.kind == shapeText || s.kind == shapeAny {
			return ""
		}
	case 't', 'f':
		if s.kind == shapeTruth || s.kind == shapeAny {
			return ""
		}
	default:
		if s.kind == shapeWhole {
			return wholeFault(s.typ, string(text))
		}
		if s.kind == shapeReal || s.kind == shapeAny {
			if _, err := strconv.ParseFloat(string(text), 64); err != nil {
				return "is a number too great"
			}
			return ""
		}
	}
	return wanted(s)
}

// wholeFault says what is wrong with a whole number. 1.5 and 1e3 are none.
func wholeFault(t reflect.Type, text string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var err error
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uintptr {
		if strings.HasPrefix(text, "-") {
			return "must not be below zero"
		}
		_, err = strconv.ParseUint(text, 10, t.Bits())
	} else {
		_, err = strconv.ParseInt(text, 10, t.Bits())
	}
	switch {
	case err == nil:
		return ""
	case strings.ContainsAny(text, ".eE"):
		return "must be a whole number"
	}
	return "is a number too great"
}

// wanted says what a value must be.
func wanted(s *shape) string {
	return map[shapeKind]string{
		shapeAny: "must not be null", shapeCustom: "has not the form that is wanted",
		shapeText: "must be a string", shapeWhole: "must be a whole number", shapeReal: "must be a number",
		shapeTruth: "must be true or false", shapeList: "must be a list",
		shapeMap: "must be an object", shapeObject: "must be an object",
	}[s.kind]
}

// pointerPart writes a name as a part of a JSON pointer.
func pointerPart(name string) string {
	if len(name) > nameShownMax {
		name = strings.ToValidUTF8(name[:nameShownMax], "") + "…"
	}
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// loneSurrogate tells whether an escape names half a character: encoding/json would
// read it as something else than was sent.
func loneSurrogate(body []byte) bool {
	if bytes.IndexByte(body, '\\') < 0 {
		return false
	}
	unit := func(i int) rune { // the UTF-16 unit of the escape at i, or -1
		if i+6 > len(body) || body[i] != '\\' || body[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(body[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if r := unit(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++
	}
	return false
}

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
		return badRequest("malformed_json", "The body is not Unicode text in UTF-8.")
	}
	if err := wellFormed(body); err != nil {
		return err
	}
	d := strict{dec: json.NewDecoder(bytes.NewReader(body))}
	d.dec.UseNumber()
	d.value(&shape{kind: shapeObject, fields: fields}, "#", 0)
	if d.tooDeep {
		return badRequest("malformed_json", fmt.Sprintf("The body has more than %d levels.", depthMax))
	}
	if len(d.faults) > 0 {
		return badRequest("invalid_fields", "The body does not have the form that is wanted.", d.faults...)
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
	return badRequest("malformed_json", detail)
}

type strict struct {
	dec     *json.Decoder
	faults  []fieldError
	tooDeep bool
}

func (d *strict) fault(pointer, detail string) {
	if len(d.faults) < fieldErrorsMax {
		d.faults = append(d.faults, fieldError{Pointer: pointer, Detail: detail})
	}
}

// value walks over one value. The body is known to be JSON, so that no token can fail.
func (d *strict) value(s *shape, pointer string, depth int) {
	if d.tooDeep = d.tooDeep || depth > depthMax; d.tooDeep {
		return
	}
	if s.kind == shapeCustom {
		d.custom(s, pointer)
		return
	}
	token, _ := d.dec.Token()
	switch token {
	case json.Delim('{'):
		d.object(s, pointer, depth)
	case json.Delim('['):
		d.list(s, pointer, depth)
	case nil:
		if !s.nullable {
			d.fault(pointer, wanted(s))
		}
	default:
		if detail := scalarFault(s, token); detail != "" {
			d.fault(pointer, detail)
		}
	}
}

func (d *strict) object(s *shape, pointer string, depth int) {
	ok := s.kind == shapeObject || s.kind == shapeMap || s.kind == shapeAny
	if !ok {
		d.fault(pointer, wanted(s))
	}
	seen := map[string]bool{}
	for d.dec.More() && !d.tooDeep {
		token, _ := d.dec.Token()
		name, _ := token.(string)
		at, inner := pointer+"/"+pointerPart(name), &shape{kind: shapeAny, nullable: true}
		switch {
		case seen[name]:
			d.fault(at, "comes twice")
		case s.kind == shapeMap:
			inner = s.elem
		case s.kind == shapeObject && s.fields[name] == nil:
			d.fault(at, "is not known here")
		case s.kind == shapeObject:
			inner = s.fields[name]
		}
		seen[name] = true
		d.value(inner, at, depth+1)
	}
	_, _ = d.dec.Token()
}

func (d *strict) list(s *shape, pointer string, depth int) {
	inner := &shape{kind: shapeAny, nullable: true}
	switch s.kind {
	case shapeAny:
	case shapeList:
		inner = s.elem
	default:
		d.fault(pointer, wanted(s))
	}
	for i := 0; d.dec.More() && !d.tooDeep; i++ {
		d.value(inner, pointer+"/"+strconv.Itoa(i), depth+1)
	}
	_, _ = d.dec.Token()
}

// custom lets a type read itself. What it was given is walked over once more, since
// names that come twice and depth are ours to judge.
func (d *strict) custom(s *shape, pointer string) {
	var raw json.RawMessage
	_ = d.dec.Decode(&raw)
	if string(raw) == "null" {
		if !s.nullable {
			d.fault(pointer, wanted(s))
		}
		return
	}
	within := strict{dec: json.NewDecoder(bytes.NewReader(raw))}
	within.dec.UseNumber()
	within.value(&shape{kind: shapeAny, nullable: true}, pointer, 1)
	d.tooDeep = d.tooDeep || within.tooDeep
	d.faults = append(d.faults, within.faults...)
	if within.tooDeep {
		return
	}
	t := s.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
		d.fault(pointer, wanted(s))
	}
}

// scalarFault says what is wrong with a string, number or truth value.
func scalarFault(s *shape, token json.Token) string {
	switch v := token.(type) {
	case string:
		if s.kind == shapeText || s.kind == shapeAny {
			return ""
		}
	case bool:
		if s.kind == shapeTruth || s.kind == shapeAny {
			return ""
		}
	case json.Number:
		if s.kind == shapeWhole {
			return wholeFault(s.typ, v.String())
		}
		if s.kind == shapeReal || s.kind == shapeAny {
			if _, err := v.Float64(); err != nil {
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
	if errors.As(err, new(*strconv.NumError)) {
		if strings.ContainsAny(text, ".eE") {
			return "must be a whole number"
		}
		return "is a number too great"
	}
	return ""
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

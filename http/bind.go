package http

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"mime"
	nethttp "net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/invopop/validation"

	"truebond/ledger"
)

// What is wrong with the form of a request (not JSON, unknown, twice, of another type)
// is 400 and found first, all of it. What breaks a rule about values (missing, too long,
// not a currency) is 422, and comes from the In's own Validate. Both name the fields.

const (
	urlTextMax = 2048    // bytes of one parameter of the path or the query
	bodyRoom   = 8 << 10 // bytes that a body gets at first: all connections may wait for the rest of theirs
)

// readBody reads the whole body, or refuses it for its size or its type.
func readBody(w nethttp.ResponseWriter, req *nethttp.Request, r *Route) ([]byte, error) {
	if req.ContentLength == 0 {
		return nil, nil
	}
	if !r.command() {
		return nil, newProblem("malformed_request", "A GET takes no body.")
	}
	if req.ContentLength > r.bodyMax {
		return nil, ledger.Refuse("body_too_large", "The body may have %d bytes.", r.bodyMax)
	}
	// A client that claims a long body gets room for it as it comes.
	room := min(max(req.ContentLength, 0), bodyRoom) + bytes.MinRead
	read := bytes.NewBuffer(make([]byte, 0, room))
	_, err := read.ReadFrom(nethttp.MaxBytesReader(w, req.Body, r.bodyMax))
	body := read.Bytes()
	switch {
	case err == nil:
	case errors.As(err, new(*nethttp.MaxBytesError)):
		return nil, ledger.Refuse("body_too_large", "The body may have %d bytes.", r.bodyMax)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, ledger.Refuse("body_too_slow", "The body did not arrive in time.")
	default:
		return nil, newProblem("malformed_request", "The body did not arrive whole.")
	}
	if len(body) == 0 || r.raw {
		return body, nil
	}
	return body, checkJSONType(req)
}

func checkJSONType(req *nethttp.Request) error {
	if coding := req.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return ledger.Refuse("unsupported_media_type", "The body must not be compressed.")
	}
	if req.Header.Get("Content-Type") == jsonType {
		return nil
	}
	media, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return ledger.Refuse("unsupported_media_type", "The body must be application/json.")
	}
	return nil
}

// bind fills an In, which it gets as a pointer, and asks it whether its values are good.
func (r *Route) bind(in any, req *nethttp.Request, params map[string]string, body []byte) error {
	v := reflect.ValueOf(in).Elem()
	if err := r.inShape.bindURL(v, req, params); err != nil {
		return err
	}
	if err := r.bindBody(v, in, body); err != nil {
		return err
	}
	rules, ok := in.(validation.Validatable)
	if !ok {
		return nil
	}
	return r.inShape.brokenRules(rules.Validate())
}

func (r *Route) bindBody(v reflect.Value, in any, body []byte) error {
	if r.raw {
		v.FieldByIndex(r.inShape.raw).SetBytes(body)
		return nil
	}
	if len(body) == 0 {
		if len(r.requiredIns) > 0 {
			return newProblem("missing_body", "The request needs a body of application/json.")
		}
		return nil
	}
	return decodeStrictly(body, r.inShape.fields, in)
}

func (s *inShape) bindURL(v reflect.Value, req *nethttp.Request, params map[string]string) error {
	var faults []fieldError
	fault := func(in, name, detail string) {
		faults = append(faults, fieldError{Pointer: "#/" + pointerPart(name), In: in, Detail: detail})
	}
	for name, index := range s.params {
		if detail := setText(v.FieldByIndex(index), []string{params[name]}); detail != "" {
			fault("path", name, detail)
		}
	}
	for name, index := range s.headers {
		if sent := req.Header.Values(name); len(sent) > 0 {
			if detail := setText(v.FieldByIndex(index), sent); detail != "" {
				fault("header", name, detail)
			}
		}
	}
	query := url.Values(nil)
	if req.URL.RawQuery != "" {
		var err error
		if query, err = url.ParseQuery(req.URL.RawQuery); err != nil {
			return newProblem("malformed_request", "The query of the URL is malformed.")
		}
	}
	for name, sent := range query {
		index, known := s.queries[name]
		if !known {
			fault("query", name, "is not known here")
		} else if slices.Contains(sent, "") && !s.empties[name] {
			// As a program sends it whose variable was not set: without it, more is meant.
			fault("query", name, "must not be empty")
		} else if detail := setText(v.FieldByIndex(index), sent); detail != "" {
			fault("query", name, detail)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.SortFunc(faults, func(a, b fieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
	return newProblem("invalid_fields", "The URL or a header does not have the form that is wanted.",
		faults[:min(len(faults), fieldErrorsMax)]...)
}

// setText reads text into a field. It says what is wrong with the text, if anything.
func setText(v reflect.Value, sent []string) string {
	if v.Kind() == reflect.Slice && !v.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		for _, text := range sent {
			elem := reflect.New(v.Type().Elem()).Elem()
			if detail := setText(elem, []string{text}); detail != "" {
				return detail
			}
			v.Set(reflect.Append(v, elem))
		}
		return ""
	}
	if len(sent) != 1 {
		return "comes twice"
	}
	text := sent[0]
	if len(text) > urlTextMax || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "is not plain text, or too long"
	}
	if v.Kind() == reflect.Pointer {
		inner := reflect.New(v.Type().Elem())
		detail := setText(inner.Elem(), sent)
		v.Set(inner)
		return detail
	}
	return setPlain(v, text)
}

func setPlain(v reflect.Value, text string) string {
	if reader, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if reader.UnmarshalText([]byte(text)) != nil {
			return "has not the form that is wanted"
		}
		return ""
	}
	var err error
	switch kind := v.Kind(); {
	case kind == reflect.String:
		v.SetString(text)
	case kind == reflect.Bool:
		if text != "true" && text != "false" {
			return "must be true or false"
		}
		v.SetBool(text == "true")
	case v.CanInt():
		var n int64
		if n, err = strconv.ParseInt(text, 10, v.Type().Bits()); err == nil {
			v.SetInt(n)
			err = spelled(text, strconv.FormatInt(n, 10))
		}
	case v.CanUint():
		var n uint64
		if n, err = strconv.ParseUint(text, 10, v.Type().Bits()); err == nil {
			v.SetUint(n)
			err = spelled(text, strconv.FormatUint(n, 10))
		}
	case v.CanFloat():
		var n float64
		if n, err = strconv.ParseFloat(text, 64); err == nil {
			v.SetFloat(n)
		}
	default:
		return "cannot be sent" // shapeOfIn lets no such field through
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return "is a number too great"
	case errors.Is(err, errPadded):
		return err.Error()
	case err != nil && v.CanFloat():
		return "must be a number"
	case err != nil:
		return "must be a whole number"
	}
	return ""
}

var errPadded = errors.New("must be written without zeros or a plus before it")

// spelled refuses a number in another spelling: what a URL names has one name.
func spelled(text, number string) error {
	if text != number {
		return errPadded
	}
	return nil
}

// brokenRules turns what an In's Validate says into an answer that names the fields.
func (s *inShape) brokenRules(err error) error {
	if err == nil || errors.As(err, new(*ledger.Refusal)) {
		return err
	}
	if internal := validation.InternalError(nil); errors.As(err, &internal) {
		return fmt.Errorf("validate: %w", internal.InternalError())
	}
	var fields validation.Errors
	if !errors.As(err, &fields) {
		return newProblem("invalid_values", sentence(err.Error()))
	}
	var faults []fieldError
	for name, broken := range fields {
		if outer, ok := s.outer[name]; ok {
			faults = append(faults, fieldError{Pointer: "#/" + outer, In: s.places[outer], Detail: broken.Error()})
			continue
		}
		faults = append(faults, flatten("#/"+pointerPart(name), broken)...)
	}
	slices.SortFunc(faults, func(a, b fieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
	return newProblem("invalid_values", "Some values break a rule.", faults[:min(len(faults), fieldErrorsMax)]...)
}

// placed tells where in the request the field is that a refusal is about. What is in the
// body needs no word.
func (s *inShape) placed(err error) error {
	var refusal *ledger.Refusal
	if !errors.As(err, &refusal) || s.places[refusal.Field] == "" {
		return err
	}
	p := refused(refusal)
	p.Errors[0].In = s.places[refusal.Field]
	return p
}

func flatten(pointer string, broken error) []fieldError {
	var inner validation.Errors
	if !errors.As(broken, &inner) {
		return []fieldError{{Pointer: pointer, Detail: broken.Error()}}
	}
	var faults []fieldError
	for name, err := range inner {
		faults = append(faults, flatten(pointer+"/"+pointerPart(name), err)...)
	}
	return faults
}

// requiredFields are the names that an empty In's rules miss: for the document that
// describes the API.
func requiredFields(in any) []string {
	rules, ok := in.(validation.Validatable)
	if !ok {
		return nil
	}
	var fields validation.Errors
	if !errors.As(rules.Validate(), &fields) {
		return nil
	}
	var names []string
	for name, broken := range fields {
		var rule validation.Error
		if errors.As(broken, &rule) && rule.Code() == validation.ErrRequired.Code() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sentence makes a rule's words a sentence.
func sentence(text string) string {
	if text == "" {
		return text
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(text[size:], ".") + "."
}

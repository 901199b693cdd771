package http

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Whatever is sent: nothing panics, what is refused changes nothing, and what is taken
// is taken by encoding/json, too, to the same values. Its canonical form is encoding/json's.
func FuzzDecodeStrictly(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"text":"a"}`, `{"TEXT":"a"}`, `{"text":"a","text":"b"}`, `{"whole":1e3}`, `{"whole":-0}`,
		`{"words":{"a":1,"a":2}}`, `{"free":[[[[{"a":null}]]]]}`, `{"when":"2026-01-31T12:00:00Z"}`, `{"real":-1.5e-3}`,
		`{"place":{"city":"\ud83d\ude00","zip":null}}`, `{"places":[{"zip":1},{"city":"\ud800"}]}`, "{\"text\":\"\xff\"}",
		`{"Hidden":"x"}`, `{"nobody":{"a":[1,2,{"b":"c"}]}}`, `{"truth":true} x`, `{"count":4294967296}`, `{"small":-129}`,
		`{"text":{"$ne":null}}`, `{"":1}`, `{"free":1e999}`, `{"words":null,"places":null,"free":null,"when":null}`,
		`{ "whole" : 1 ,"text":"a, b", "free" : { "b" : [ 1 , "]" ], "a!" : 1E3, "a":"é" } }`, `{"text":"<\"&\u2028>"}`,
		`{"free":"<","text":"&"}`, "{\"text\":\"\u2028\"}", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"i":1}`,
	} {
		f.Add([]byte(seed))
	}
	in := reflect.TypeFor[everything]()
	shape, err := shapeOfIn(in, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var strictly, loosely everything
		err := decodeStrictly(body, shape.fields, &strictly)
		if err != nil {
			if problemOf(err).Status != 400 {
				t.Fatalf("refused with %v", err)
			}
			if !reflect.DeepEqual(strictly, everything{}) {
				t.Fatalf("refused, and changed: %+v", strictly)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&loosely); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if d.More() || !reflect.DeepEqual(strictly, loosely) {
			t.Fatalf("%q is %+v, and loosely %+v", body, strictly, loosely)
		}
		var names map[string]json.RawMessage
		if err := json.Unmarshal(body, &names); err != nil {
			t.Fatalf("not an object: %v", err)
		}
		for name := range names {
			if shape.fields[name] == nil {
				t.Fatalf("took the unknown field %q", name)
			}
		}
		if strictly.Hidden != "" {
			t.Fatal("filled a field that cannot be sent")
		}
		if want := asWritten(t, body); !bytes.Equal(canonical(body), want) {
			t.Fatalf("canonical is %s and not %s", canonical(body), want)
		}
	})
}

// asWritten is an object as encoding/json writes it: escapes are read only where there are any.
func asWritten(t *testing.T, body []byte) []byte {
	var members any = &map[string]json.RawMessage{}
	if bytes.ContainsRune(body, '\\') {
		members = &map[string]any{}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(members); err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestAnInThatCannotBeReadIsFoundAtTheStart(t *testing.T) {
	for name, in := range map[string]any{
		"a channel": struct {
			A chan int `json:"a"`
		}{},
		"a number in a string": struct {
			A int `json:"a,string"`
		}{},
		"numbers for names": struct {
			A map[int]string `json:"a"`
		}{},
		"twice the same query": struct {
			A, B string `query:"a"`
		}{},
		"an object in a path": struct {
			A place `param:"a"`
		}{},
		"a list in a header": struct {
			A []string `header:"a"`
		}{},
		"a raw string": struct {
			A string `body:"raw"`
		}{},
		"no struct": "",
	} {
		if _, err := shapeOfIn(reflect.TypeOf(in), strings.HasPrefix(name, "a raw")); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func TestATypeThatContainsItselfComesToAnEnd(t *testing.T) {
	type tree struct {
		Name string  `json:"name"`
		Next *tree   `json:"next"`
		All  []*tree `json:"all"`
	}
	shape, err := shapeOfIn(reflect.TypeFor[tree](), false)
	if err != nil {
		t.Fatal(err)
	}
	var got tree
	good := []byte(`{"name":"a","next":{"name":"b","all":[{"name":"c"},null]}}`)
	if err := decodeStrictly(good, shape.fields, &got); err != nil {
		t.Fatal(err)
	}
	if got.Next.All[0].Name != "c" {
		t.Errorf("read %+v", got)
	}
	err = decodeStrictly([]byte(`{"next":{"all":[{"nobody":1}]}}`), shape.fields, &got)
	if told := problemOf(err); len(told.Errors) != 1 || told.Errors[0].Pointer != "#/next/all/0/nobody" {
		t.Errorf("told %+v", told)
	}
}

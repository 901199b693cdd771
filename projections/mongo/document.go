package mongo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/x/bsonx/bsoncore"

	"truebond/projections"
)

// docField comes before the name of a field of a document's JSON.
const docField = "doc."

// depthMax is how deep the server lets documents be nested, less than its 100.
const depthMax = 95

// Keys of documents may be anything, and Mongo gives a meaning to some of them.
var (
	escapeKey   = strings.NewReplacer("%", "%25", ".", "%2E", "$", "%24", "\x00", "%00").Replace
	unescapeKey = strings.NewReplacer("%25", "%", "%2E", ".", "%24", "$", "%00", "\x00").Replace
)

// toBSON is {_id, position, doc: {…}}, with the JSON's fields in their order.
func toBSON(d projections.Document) (bson.Raw, error) {
	start, out := bsoncore.AppendDocumentStart(make([]byte, 0, 2*len(d.Body)+len(d.ID)+64))
	out = bsoncore.AppendStringElement(out, "_id", d.ID)
	out = bsoncore.AppendInt64Element(out, "position", int64(d.Position))
	in := json.NewDecoder(bytes.NewReader(d.Body))
	in.UseNumber()
	out, err := appendBSON(out, "doc", in, 1)
	if err != nil {
		return nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something comes after the JSON object")
	}
	return bsoncore.AppendDocumentEnd(out, start)
}

// appendBSON appends the next value of in under a key.
func appendBSON(out []byte, key string, in *json.Decoder, depth int) ([]byte, error) {
	token, err := in.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case string:
		return bsoncore.AppendStringElement(out, key, v), nil
	case bool:
		return bsoncore.AppendBooleanElement(out, key, v), nil
	case nil:
		return bsoncore.AppendNullElement(out, key), nil
	case json.Number:
		return appendNumber(out, key, v)
	}
	if depth > depthMax {
		return nil, fmt.Errorf("it is nested deeper than %d", depthMax)
	}
	if token == json.Delim('[') {
		return appendArray(out, key, in, depth)
	}
	return appendObject(out, key, in, depth)
}

func appendObject(out []byte, key string, in *json.Decoder, depth int) ([]byte, error) {
	start, out := bsoncore.AppendDocumentElementStart(out, key)
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, err
		}
		text, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("%v is not a key", name)
		}
		if out, err = appendBSON(out, escapeKey(text), in, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := in.Token(); err != nil {
		return nil, err
	}
	return bsoncore.AppendDocumentEnd(out, start)
}

func appendArray(out []byte, key string, in *json.Decoder, depth int) ([]byte, error) {
	start, out := bsoncore.AppendArrayElementStart(out, key)
	for i := 0; in.More(); i++ {
		var err error
		if out, err = appendBSON(out, strconv.Itoa(i), in, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := in.Token(); err != nil {
		return nil, err
	}
	return bsoncore.AppendArrayEnd(out, start)
}

func appendNumber(out []byte, key string, n json.Number) ([]byte, error) {
	if !strings.ContainsAny(n.String(), ".eE") {
		whole, err := n.Int64()
		if err != nil {
			return nil, fmt.Errorf("%s is beyond 63 bits", n)
		}
		return bsoncore.AppendInt64Element(out, key, whole), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("%s is not a double", n)
	}
	return bsoncore.AppendDoubleElement(out, key, f), nil
}

// fromBSON is the document that toBSON made this of.
func fromBSON(raw bson.Raw) (projections.Document, error) {
	var d projections.Document
	id, isText := raw.Lookup("_id").StringValueOK()
	position, isNumber := raw.Lookup("position").AsInt64OK()
	doc, isDoc := raw.Lookup("doc").DocumentOK()
	if !isText || !isNumber || !isDoc {
		return d, fmt.Errorf("this is not a document of ours: %.200s", raw.String())
	}
	d.ID, d.Position = id, uint64(position)
	body, err := appendObjectJSON(make([]byte, 0, len(doc)), bsoncore.Document(doc))
	if err != nil {
		return d, fmt.Errorf("document %q: %w", id, err)
	}
	d.Body = body
	return d, nil
}

func appendObjectJSON(out []byte, doc bsoncore.Document) ([]byte, error) {
	elements, err := doc.Elements()
	if err != nil {
		return nil, err
	}
	out = append(out, '{')
	for i, e := range elements {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendPlain(out, unescapeKey(e.Key())); err != nil {
			return nil, err
		}
		out = append(out, ':')
		if out, err = appendJSON(out, e.Value()); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendArrayJSON(out []byte, array bsoncore.Array) ([]byte, error) {
	values, err := array.Values()
	if err != nil {
		return nil, err
	}
	out = append(out, '[')
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendJSON(out, v); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func appendJSON(out []byte, v bsoncore.Value) ([]byte, error) {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return appendObjectJSON(out, v.Document())
	case bson.TypeArray:
		return appendArrayJSON(out, v.Array())
	case bson.TypeString:
		return appendPlain(out, v.StringValue())
	case bson.TypeInt32, bson.TypeInt64:
		return strconv.AppendInt(out, v.AsInt64(), 10), nil
	case bson.TypeDouble:
		return appendPlain(out, v.Double())
	case bson.TypeBoolean:
		return strconv.AppendBool(out, v.Boolean()), nil
	case bson.TypeNull:
		return append(out, "null"...), nil
	default:
		return nil, fmt.Errorf("a value of type %s was not written by us", v.Type)
	}
}

// appendPlain appends a string or a double.
func appendPlain[V string | float64](out []byte, v V) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(out, text...), err
}

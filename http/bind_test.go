package http

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/invopop/validation"

	"truebond/ledger"
)

type place struct {
	City string `json:"city"`
	Zip  *int   `json:"zip"`
}

func (p place) Validate() error {
	return validation.ValidateStruct(&p, validation.Field(&p.City, validation.Required))
}

type everything struct {
	Text   string          `json:"text"`
	Whole  int64           `json:"whole"`
	Small  int8            `json:"small"`
	Count  uint32          `json:"count"`
	Real   float64         `json:"real"`
	Truth  bool            `json:"truth"`
	When   *time.Time      `json:"when"`
	Place  place           `json:"place"`
	Places []place         `json:"places"`
	Words  map[string]int  `json:"words"`
	Free   json.RawMessage `json:"free"`
	Hidden string          // without a tag nobody can send it
}

type search struct {
	ID     string    `param:"id"`
	Limit  int       `query:"limit"`
	Until  time.Time `query:"until"`
	Kinds  []string  `query:"kind"`
	Like   string    `query:"like"`
	Cursor string    `query:"cursor" empty:"ok"`
	Unread *bool     `query:"unread"`
	Asked  string    `header:"X-Asked"`
}

func (s search) Validate() error {
	return validation.ValidateStruct(&s, validation.Field(&s.Limit, validation.Max(100)))
}

func (b *bench) sendsTo(path, body string) answer { return b.send("POST", path, body) }

func servingForms(t *testing.T) *bench {
	return serving(t, []Route{
		post("/everything", func(_ context.Context, in everything) (everything, error) { return in, nil },
			"Take everything", public, unlimited),
		post("/notes", writeNote, "Write a note", public, unlimited),
		post("/places", func(_ context.Context, in struct {
			Places []place `json:"places"`
		}) (nothing, error) {
			return nothing{}, validation.Validate(in.Places)
		}, "Take places", public, unlimited),
		post("/empty", func(context.Context, nothing) (nothing, error) { return nothing{}, nil }, "Take nothing",
			public, unlimited),
		get("/things/{id}", func(_ context.Context, in search) (search, error) { return in, nil },
			"Search", public, unlimited),
		post("/hook", func(_ context.Context, in struct {
			Body      []byte `body:"raw"`
			Signature string `header:"Stripe-Signature"`
		}) (map[string]string, error) {
			return map[string]string{"body": string(in.Body), "signature": in.Signature}, nil
		}, "Take a webhook", public, rawBody),
	})
}

// The form of a request is judged before its values: 400.
func TestAMalformedRequestNamesItsFields(t *testing.T) {
	b := servingForms(t)
	for name, c := range map[string]struct{ body, pointers string }{
		"an unknown field":            {`{"nobody":1}`, "#/nobody"},
		"a name in other letters":     {`{"TEXT":"a"}`, "#/TEXT"},
		"a field without a tag":       {`{"Hidden":"a"}`, "#/Hidden"},
		"a field that comes twice":    {`{"text":"a","text":"a"}`, "#/text"},
		"twice, once escaped":         {`{"text":"a","te\u0078t":"b"}`, "#/text"},
		"an inner unknown field":      {`{"place":{"city":"a","x":1}}`, "#/place/x"},
		"one in a list":               {`{"places":[{"city":"a"},{"country":"b"}]}`, "#/places/1/country"},
		"a number for a string":       {`{"text":1}`, "#/text"},
		"null for a string":           {`{"text":null}`, "#/text"},
		"a string for a number":       {`{"whole":"1"}`, "#/whole"},
		"a fraction":                  {`{"whole":1.5}`, "#/whole"},
		"a whole fraction":            {`{"whole":1.0}`, "#/whole"},
		"an exponent":                 {`{"whole":1e3}`, "#/whole"},
		"too great":                   {`{"whole":9223372036854775808}`, "#/whole"},
		"too great for its type":      {`{"small":128}`, "#/small"},
		"a negative count":            {`{"count":-1}`, "#/count"},
		"a real too great":            {`{"real":1e999}`, "#/real"},
		"a number for a truth":        {`{"truth":1}`, "#/truth"},
		"a time that is none":         {`{"when":"yesterday"}`, "#/when"},
		"a number for a time":         {`{"when":12}`, "#/when"},
		"a list for an object":        {`{"place":[1]}`, "#/place"},
		"an object for a list":        {`{"places":{"a":{"b":1}}}`, "#/places"},
		"an object for a string":      {`{"text":{"$ne":null}}`, "#/text"},
		"a map's value":               {`{"words":{"a":1,"b":"c"}}`, "#/words/b"},
		"a map's name twice":          {`{"words":{"a":1,"a":2}}`, "#/words/a"},
		"twice in what is free":       {`{"free":{"a":{"b":1,"b":2}}}`, "#/free/a/b"},
		"a name to be escaped":        {`{"a/b~c":1}`, "#/a~1b~0c"},
		"several faults, all of them": {`{"text":1,"whole":"x","nobody":[{"a":1}]}`, "#/text #/whole #/nobody"},
		"not an object: a list":       {`[{"text":"a"}]`, "#"},
		"not an object: a string":     {`"text"`, "#"},
		"not an object: null":         {`null`, "#"},
		"a long name, shown in part":  {`{"` + strings.Repeat("n", 500) + `":1}`, "#/" + strings.Repeat("n", 64) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.sendsTo("/everything", c.body)
			a.wants(t, 400, "invalid_fields")
			if got := a.pointers(t); got != c.pointers {
				t.Errorf("names %q and not %q", got, c.pointers)
			}
		})
	}
}

func TestWhatIsNotJSONIsRefused(t *testing.T) {
	b := servingForms(t)
	for name, body := range map[string]string{
		"cut off":              `{"text":"a"`,
		"trailing data":        `{"text":"a"} {"text":"b"}`,
		"a trailing comma":     `{"text":"a",}`,
		"a comment":            `{"text":"a"} // b`,
		"not a number":         `{"real":NaN}`,
		"a leading zero":       `{"whole":01}`,
		"single quotes":        `{'text':'a'}`,
		"a mark in front":      "\xef\xbb\xbf{}",
		"not UTF-8":            "{\"text\":\"\xff\"}",
		"an overlong slash":    "{\"text\":\"\xc0\xaf\"}",
		"half a character":     `{"text":"\ud800"}`,
		"the other half":       `{"text":"\udc00 \ud800"}`,
		"halves the wrong way": `{"text":"\udc00\ud800"}`,
		"too deep":             `{"free":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`,
		"very deep":            `{"free":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}`,
	} {
		t.Run(name, func(t *testing.T) { b.sendsTo("/everything", body).wants(t, 400, "malformed_json") })
	}
}

func TestWhatIsWellFormedArrives(t *testing.T) {
	b := servingForms(t)
	body := `{"text":"\ud83d\ude00 \\ud800","whole":-9223372036854775808,"small":127,"count":4294967295,"real":1.5e3,` +
		`"truth":true,"when":"2026-01-31T12:00:00Z","place":{"city":"Pune","zip":null},` +
		`"places":[{"city":"Goa","zip":1}],"words":{"a":1},"free":{"x":[1,"2",null]}}`
	a := b.sendsTo("/everything", body)
	a.wants(t, 200, "")
	var got, want everything
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Text, got.Whole, got.Small, got.Count, got.Real, got.Truth, got.When, got.Places[0].City,
		got.Words) != fmt.Sprint(want.Text, want.Whole, want.Small, want.Count, want.Real, want.Truth, want.When,
		want.Places[0].City, want.Words) {
		t.Errorf("arrived as %+v", got)
	}
}

// Values are judged by the In's own rules: 422.
func TestBrokenRulesNameTheirFields(t *testing.T) {
	b := servingForms(t)
	for name, c := range map[string]struct{ path, body, pointers string }{
		"one missing":  {"/notes", `{"to":"usr_2"}`, "#/text"},
		"both missing": {"/notes", `{}`, "#/text #/to"},
		"one too long": {"/notes", `{"to":"usr_2","text":"12345678901"}`, "#/text"},
		"a pointer's":  {"/notes", `{"to":"usr_2","text":"a","size":-1}`, "#/size"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.sendsTo(c.path, c.body)
			a.wants(t, 422, "invalid_values")
			if got := a.pointers(t); got != c.pointers {
				t.Errorf("names %q and not %q", got, c.pointers)
			}
		})
	}
	a := b.send("GET", "/things/a?limit=101", "")
	a.wants(t, 422, "invalid_values")
	if got := a.pointers(t); got != "#/limit" || a.json(t)["errors"].([]any)[0].(map[string]any)["in"] != "query" {
		t.Errorf("names %s", a.body)
	}
}

func TestRulesWithinListsAreToldByTheirPlace(t *testing.T) {
	s := &inShape{}
	err := validation.Errors{"places": validation.Validate([]place{{City: "Goa"}, {}})}
	told := problemOf(s.brokenRules(err))
	if told.Status != 422 || len(told.Errors) != 1 || told.Errors[0].Pointer != "#/places/1/city" {
		t.Errorf("told %+v", told)
	}
	if told := problemOf(s.brokenRules(validation.NewInternalError(context.Canceled))); told.Status != 500 {
		t.Errorf("a rule that failed is %d", told.Status)
	}
	if told := problemOf(s.brokenRules(ledger.Refuse("forbidden", "No."))); told.Status != 403 {
		t.Errorf("a rule's refusal is %d", told.Status)
	}
}

func TestABodyMustBeWhatItIsSaidToBe(t *testing.T) {
	b := servingForms(t)
	good := `{"to":"usr_2","text":"a"}`
	long := func(chars int) string { return `{"text":"` + strings.Repeat("a", chars) + `"}` }
	const notJSON = "unsupported_media_type"
	for name, c := range map[string]struct {
		path, body, header, value string
		status                    int
		code                      string
	}{
		"none":               {"/notes", "", "X-A", "b", 400, "missing_body"},
		"no type":            {"/notes", good, "Content-Type", "", 415, notJSON},
		"a form":             {"/notes", good, "Content-Type", "application/x-www-form-urlencoded", 415, notJSON},
		"plain text":         {"/notes", good, "Content-Type", "text/plain", 415, notJSON},
		"another charset":    {"/notes", good, "Content-Type", "application/json; charset=utf-16", 415, notJSON},
		"compressed":         {"/notes", good, "Content-Encoding", "gzip", 415, notJSON},
		"too large":          {"/notes", long(bodyMax), "X-A", "b", 413, "body_too_large"},
		"just large enough":  {"/everything", long(bodyMax - 11), "X-A", "b", 200, ""},
		"one more":           {"/everything", long(bodyMax - 10), "X-A", "b", 413, "body_too_large"},
		"with a charset":     {"/notes", good, "Content-Type", "application/json; charset=UTF-8", 200, ""},
		"nothing for none":   {"/empty", "", "X-A", "b", 200, ""},
		"empty for none":     {"/empty", "{}", "X-A", "b", 200, ""},
		"something for none": {"/empty", `{"a":1}`, "X-A", "b", 400, "invalid_fields"},
	} {
		t.Run(name, func(t *testing.T) { b.send("POST", c.path, c.body, c.header, c.value).wants(t, c.status, c.code) })
	}
	t.Run("a GET with one", func(t *testing.T) { b.send("GET", "/things/a", "{}").wants(t, 400, "malformed_request") })
}

func TestTheURLIsReadStrictly(t *testing.T) {
	b := servingForms(t)
	a := b.send("GET", "/things/a%2Fb%20c?limit=5&until=2026-01-31T00:00:00Z&kind=x&kind=y&unread=true", "",
		"X-Asked", "why")
	a.wants(t, 200, "")
	var got search
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "a/b c" || got.Limit != 5 || got.Until.Year() != 2026 || strings.Join(got.Kinds, "") != "xy" ||
		got.Unread == nil || !*got.Unread || got.Asked != "why" {
		t.Errorf("read %+v", got)
	}
	for query, pointers := range map[string]string{
		"nobody=1":                   "#/nobody",
		"Limit=1":                    "#/Limit",
		"limit=1&limit=2":            "#/limit",
		"limit=1.5":                  "#/limit",
		"limit=1e3":                  "#/limit",
		"limit=":                     "#/limit",
		"limit=%2B":                  "#/limit",
		"limit=99999999999999999999": "#/limit",
		"until=now":                  "#/until",
		"unread=1":                   "#/unread",
		"kind=%00":                   "#/kind",
		"kind=x&kind=":               "#/kind",
		"like=":                      "#/like",
		"like":                       "#/like",
		"kind=%ff":                   "#/kind",
		"limit[$ne]=1":               "#/limit[$ne]",
		"a=1&b=2":                    "#/a #/b",
	} {
		t.Run(query, func(t *testing.T) {
			a := b.send("GET", "/things/a?"+query, "")
			a.wants(t, 400, "invalid_fields")
			if got := a.pointers(t); got != pointers {
				t.Errorf("names %q and not %q", got, pointers)
			}
		})
	}
	b.send("GET", "/things/a?cursor=", "").wants(t, 200, "")
	b.send("GET", "/things/a?limit=%zz", "").wants(t, 400, "malformed_request")
	b.send("GET", "/things/a%0Ab", "").wants(t, 400, "invalid_fields")
}

func TestAWebhookGetsTheExactBytes(t *testing.T) {
	b := servingForms(t)
	body := "{ \"id\":1,  \"id\":2 }\n\xff" + strings.Repeat("x", 2*bodyMax)
	a := b.send("POST", "/hook", body, "Stripe-Signature", "t=1,v1=ab", "Content-Type", "text/strange")
	a.wants(t, 200, "")
	if a.json(t)["signature"] != "t=1,v1=ab" || len(a.json(t)["body"].(string)) < len(body) {
		t.Errorf("got %.80s", a.body)
	}
	b.send("POST", "/hook", strings.Repeat("x", rawBodyMax+1)).wants(t, 413, "body_too_large")
}

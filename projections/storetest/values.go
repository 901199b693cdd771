package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"truebond/projections"
)

var valueRules = []rule{
	{"documents come back with the same value", sameValue},
	{"integers beyond 2^53 are found and ordered", largeIntegers},
	{"strings compare by their bytes", bytewise},
	{"booleans are found and ordered", booleans},
	{"what looks like a query is only a value", onlyValues},
	{"escaped strings are found by what they say", escaped},
}

func sameValue(w *world) {
	table := w.table(1, projections.Index{Name: "all", Fields: []string{"v"}})
	deep := strings.Repeat(`{"a":[`, 40) + `1` + strings.Repeat(`]}`, 40)
	long, err := json.Marshal(strings.Repeat("ü\"\\\n", projections.BodyBytesMax/16))
	w.must(err)
	for i, body := range []string{
		`{}`, `{"a":null}`, `{"a":{},"b":[],"c":""}`, `{"a":[null,[null,{"b":null}],true,false]}`,
		`{"n":[0,-1,9007199254740993,-9007199254740993,9223372036854775807,-9223372036854775808]}`,
		`{"millis":1700000000123,"f":[0.1,-2.5,1e-7,1.7976931348623157e308,5e-324,1e21,3.0]}`,
		`{"a.b":1,"a..b":2,".":3,"a.":4,".a":5,"ann@example.org":{"x.y":{"z.":1}}}`,
		`{"$set":1,"$":2,"a$":3,"$$":4,"x":{"$ne":null,"$gt":"","$ref":"r","$id":1,"$where":"1"}}`,
		`{"%":1,"%2E":2,"%24":3,"%25":4,"%2e":5,"":6,"x":{"":{"":7}}}`,
		`{"_id":1,"id":"x","position":9,"body":"b","doc":{"_id":{"_id":2}},"__proto__":{}}`,
		`{"u":"äöü ß 日本語 😀 \u00e9 e\u0301 \u2028 \ufeff","ключ":"значение","😀":1}`,
		`{"e":"\"\\\/\b\f\n\r\t\u0000\u001f<>&'","\u0000":"\u0000","a\u0000b":1,"\"":1,"\\":2,"\n":3}`,
		`{"z":1,"a":2,"m":{"z":1,"a":2}}`, " {\n\t\"a\" : [ 1 , 2 ] } ", `{"v":` + deep + `}`,
		`{"long":` + string(long) + `}`,
		`{"s":["1","1.0","true","null","2026-01-02T03:04:05Z","{\"a\":1}","ObjectId('x')"]}`,
	} {
		id := fmt.Sprintf("doc.%d/$%%", i)
		w.write(table, change{id, body})
		w.isJSON("the document", w.get(table, id), body)
		listed := w.docs(table, projections.Query{Range: projections.Range{From: id, Until: id + "\x00"}})
		w.is("the listed documents", ids(listed), []string{id})
		w.isJSON("the listed document", string(listed[0].Body), body)
	}
}

func largeIntegers(w *world) {
	table := w.table(1, projections.Index{Name: "n", Fields: []string{"n"}})
	const beyond = 1 << 53
	ordered := []int64{
		math.MinInt64, math.MinInt64 + 1, -beyond - 1, -beyond, -1, 0, 1,
		beyond, beyond + 1, beyond + 2, math.MaxInt64 - 1, math.MaxInt64,
	}
	var changes []change
	var wanted []string
	for i, n := range ordered {
		wanted = append(wanted, fmt.Sprintf("%02d", len(ordered)-i)) // ids in the other order
		changes = append(changes, change{wanted[i], fmt.Sprintf(`{"n":%d}`, n)})
	}
	w.write(table, changes...)
	w.is("all in order", w.find(table, projections.Query{Index: "n"}), wanted)
	w.is("all, page by page", w.pages(table, projections.Query{Index: "n", Limit: 1}), wanted)
	for i, n := range ordered {
		w.is(fmt.Sprint("found by ", n), w.find(table, by("n", n)), wanted[i:i+1])
		from := projections.Query{Index: "n", Range: projections.Range{From: n}}
		w.is(fmt.Sprint("from ", n), w.find(table, from), wanted[i:])
		until := projections.Query{Index: "n", Range: projections.Range{Until: n}}
		w.is(fmt.Sprint("until ", n), w.find(table, until), append([]string{}, wanted[:i]...))
	}
}

// bytewiseOrder is strings in the order of their UTF-8 bytes, which is no language's.
var bytewiseOrder = []string{
	"", " ", "!", "1", "10", "2", "A", "AA", "Aa", "B", "Z", "a", "aB", "ab", "z", "e\u0301",
	"ß", "é", "Ω", "日", "\uFFFD", "😀",
}

func bytewise(w *world) {
	table := w.table(1, byName)
	ordered := slices.Sorted(slices.Values(bytewiseOrder))
	var changes []change
	var wanted, listed []string
	for i, s := range ordered {
		wanted = append(wanted, fmt.Sprintf("%02d", len(ordered)-i))
		changes = append(changes, change{wanted[i], fmt.Sprintf(`{"name":%q}`, s)})
	}
	w.write(table, changes...)
	w.is("all in order", w.find(table, projections.Query{Index: "name"}), wanted)
	for i, s := range ordered {
		w.is("found by "+s, w.find(table, by("name", s)), wanted[i:i+1])
		from := projections.Query{Index: "name", Range: projections.Range{From: s}}
		w.is("from "+s, w.find(table, from), wanted[i:])
	}
	w.is("in the other order", w.find(table, projections.Query{Index: "name", Desc: true}), reversed(wanted))

	byID := w.table(2) // ids as well
	changes = nil
	for _, s := range ordered[1:] {
		listed = append(listed, s)
		changes = append(changes, change{s, `{}`})
	}
	w.write(byID, changes...)
	w.is("all ids in order", w.find(byID, projections.Query{}), listed)
	w.is("all ids, page by page", w.pages(byID, projections.Query{Limit: 2}), listed)
	docs, err := w.store.Get(w.ctx, byID, reversed(listed))
	w.must(err)
	w.is("all ids that were asked for", ids(docs), listed)
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

func booleans(w *world) {
	table := w.table(1, projections.Index{Name: "open", Fields: []string{"open", "n"}})
	w.write(table, change{"a", `{"open":true,"n":1}`}, change{"b", `{"open":false,"n":2}`},
		change{"c", `{"open":true,"n":0}`}, change{"d", `{"open":null,"n":1}`}, change{"e", `{"n":1}`})
	open := by("open", true)
	w.is("those that are open", w.find(table, open), []string{"c", "a"})
	w.is("all", w.find(table, projections.Query{Index: "open"}), []string{"b", "c", "a"})
	pages := w.pages(table, projections.Query{Index: "open", Limit: 1})
	w.is("all, page by page", pages, []string{"b", "c", "a"})
}

func onlyValues(w *world) {
	table := w.table(1, byName, byTag)
	for _, hostile := range []string{
		`{"$ne":null}`, `{"$gt":""}`, `$where`, `$name`, `$doc.name`, `' OR '1'='1`, `"; DROP TABLE tables; --`,
		`%`, `_`, `*`, `.*`, `\`, `[1]`, `null`, `true`, `x\u0000`, `?`, `:id`, `@id`, `?1`,
	} {
		quoted, err := json.Marshal(hostile)
		w.must(err)
		for _, q := range []projections.Query{
			{Index: "name", Equal: []any{hostile}}, {Index: "tag", Equal: []any{hostile}},
			{Range: projections.Range{From: hostile, Until: hostile + "\x00"}},
		} {
			w.is("found by "+hostile, w.find(table, q), []string{})
		}
		w.is("the document "+hostile, w.get(table, hostile), "")
		w.write(table, change{hostile, fmt.Sprintf(`{"name":%s,"tags":["other",%s]}`, quoted, quoted)})
		w.is("found by "+hostile, w.find(table, by("name", hostile)), []string{hostile})
		w.is("found by "+hostile, w.find(table, by("tag", hostile)), []string{hostile})
		if w.get(table, hostile) == "" {
			w.Errorf("document %q is not there", hostile)
		}
		w.write(table, change{hostile, ""})
	}
}

func escaped(w *world) {
	table := w.table(1, byName, byTag)
	w.write(table, change{"a", `{"name":"\u003ca href=\"x\"\u003e \u0026 \u00e9\ud83d\ude00\n",` +
		`"tags":["\u0061","b\/c"]}`})
	w.is("found by the name", w.find(table, projections.Query{
		Index: "name", Equal: []any{"<a href=\"x\"> & é😀\n"},
	}), []string{"a"})
	for _, tag := range []string{"a", "b/c"} {
		w.is("found by a tag", w.find(table, by("tag", tag)), []string{"a"})
	}
}

package http

import (
	"bytes"
	"encoding/json"
	"slices"
)

// canonical writes a body that was found good in one way, so that white space, escapes and
// the order of names make no other request: compact, the members in the order of their
// names, and all as encoding/json writes it. Hashes of it stand in the log, so that it
// stays as it is.
func canonical(body []byte) []byte {
	switch {
	case len(body) == 0:
		return body
	case bytes.IndexByte(body, '\\') >= 0:
		return rewritten[any](body)
	case bytes.ContainsAny(body, "<>&") || bytes.Contains(body, lineSeparators):
		return rewritten[json.RawMessage](body) // which encoding/json escapes
	}
	type member struct{ name, value []byte }
	members := make([]member, 0, 8)
	s := scanner{text: body}
	s.next()
	for s.enters(); s.more(); {
		members = append(members, member{s.name(), s.value()})
	}
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	plain := append(make([]byte, 0, len(body)), '{')
	for i, m := range members {
		if i > 0 {
			plain = append(plain, ',')
		}
		plain = append(append(append(plain, '"'), m.name...), '"', ':')
		plain = appendCompact(plain, m.value)
	}
	return append(plain, '}')
}

// canonicalBefore is how programs before 26 November 2026 wrote a body with escapes, which they kept.
// Hashes of that stand in logs, too. nil: they wrote it as canonical does.
func canonicalBefore(body []byte) []byte {
	if bytes.IndexByte(body, '\\') < 0 {
		return nil
	}
	return rewritten[json.RawMessage](body)
}

// lineSeparators is what U+2028 and U+2029 begin with.
var lineSeparators = []byte("\u2028")[:2]

// appendCompact appends a value without its white space.
func appendCompact(to, value []byte) []byte {
	if value[0] != '{' && value[0] != '[' {
		return append(to, value...)
	}
	compact := bytes.NewBuffer(to)
	_ = json.Compact(compact, value) // it is JSON
	return compact.Bytes()
}

// rewritten is an object as encoding/json reads and writes it, which takes longer.
func rewritten[member any](body []byte) []byte {
	var members map[string]member
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&members) != nil {
		return body
	}
	plain, err := json.Marshal(members)
	if err != nil {
		return body
	}
	return plain
}

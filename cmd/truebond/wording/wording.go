// Package wording says counts and messages as people read them.
package wording

import (
	"fmt"
	"strings"
	"unicode"
)

// Counted is a number with what it counts, or with what is said of that: "1 event is",
// "2 events are".
func Counted[N int | int64 | uint64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// Events is how many events there are.
func Events[N int | int64 | uint64](n N) string { return Counted(n, "event", "events") }

// EventRange names one event or several that follow each other.
func EventRange(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("event %d", first)
	}
	return fmt.Sprintf("the events %d to %d", first, last)
}

// OneLine keeps a message from looking like two.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

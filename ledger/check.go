package ledger

import (
	"slices"
	"unicode/utf8"
)

// ReasonMax bounds a reason that somebody gives, in characters.
const ReasonMax = 200

// checkReason refuses a reason that is missing or too long.
func checkReason(reason string) error {
	if n := utf8.RuneCountInString(reason); n < 1 || n > ReasonMax {
		return Refuse(CodeInvalidRequest, "The reason must have 1 to %d characters.", ReasonMax).About("reason")
	}
	return nil
}

// allOf tells whether there are words, each once and each one of those allowed.
func allOf(words []string, allowed ...string) bool {
	for i, w := range words {
		if !slices.Contains(allowed, w) || slices.Contains(words[:i], w) {
			return false
		}
	}
	return len(words) > 0
}

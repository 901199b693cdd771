package commands

import (
	"regexp"
	"strings"

	"github.com/invopop/validation"
)

// phoneShape is E.164 with its plus.
var phoneShape = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// commonPasswords are those of ten characters or more that turn up most in leaks, and
// words of this product. Each is refused with whatever digits and signs stand around it.
var commonPasswords = []string{
	"password", "passw0rd", "qwertyuiop", "qwerty", "1q2w3e4r5t", "1qaz2wsx3edc", "iloveyou", "letmein", "welcome",
	"administrator", "admin", "football", "baseball", "superman", "sunshine", "princess", "trustno1", "abcdefghij",
	"truebond", "dating", "credits",
}

// isGoodPassword refuses what is guessed first (OWASP ASVS 5.0, 6.2.4 and 6.2.11).
func isGoodPassword(value any) error {
	text := strings.ToLower(value.(string))
	core := strings.Trim(text, "0123456789!@#$%^&*()_+-=.,?/ ")
	for _, common := range commonPasswords {
		if core == common || core == common+common {
			return validation.NewError("common_password", "is one of the first that would be guessed")
		}
	}
	if strings.Count(text, text[:1]) == len(text) || strings.HasPrefix("01234567890123456789", text) {
		return validation.NewError("common_password", "is one of the first that would be guessed")
	}
	return nil
}

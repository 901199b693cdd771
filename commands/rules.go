package commands

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/invopop/validation"
)

// What an address and a password of anybody's must be, a user's or one of the staff's.
var (
	emailRules    = []validation.Rule{validation.Required, validation.Length(3, 254), validation.By(isEmail)}
	passwordRules = []validation.Rule{validation.Required, validation.RuneLength(10, 128), validation.By(isGoodPassword)}
)

// phoneShape is E.164 with its plus.
var phoneShape = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// commonPasswords are what turns up most in leaks, and words of this product. Each is
// refused, also twice in a row, with whatever digits and signs stand around it.
var commonPasswords = []string{
	"password", "passw0rd", "qwertyuiop", "qwerty", "1q2w3e4r5t", "1qaz2wsx3edc", "iloveyou", "letmein", "welcome",
	"administrator", "admin", "football", "baseball", "superman", "sunshine", "princess", "trustno1", "abcdefghij",
	"truebond", "dating", "credits",
}

func isEmail(value any) error {
	text := strings.TrimSpace(value.(string))
	address, err := mail.ParseAddress(text)
	if err != nil || address.Address != text {
		return validation.NewError("is_email", "must be an e-mail address")
	}
	return nil
}

// isGoodPassword refuses what is guessed first (OWASP ASVS 5.0, 6.2.4 and 6.2.11).
func isGoodPassword(value any) error {
	text := strings.ToLower(value.(string))
	core := strings.Trim(text, "0123456789!@#$%^&*()_+-=.,?/ ")
	common := slices.ContainsFunc(commonPasswords, func(word string) bool { return core == word || core == word+word })
	if common || strings.Count(text, text[:1]) == len(text) || strings.HasPrefix("01234567890123456789", text) {
		return validation.NewError("common_password", "is one of the first that would be guessed")
	}
	return nil
}

// oneOf demands one of these values, and names them to who sends another.
func oneOf[T ~string](values ...T) validation.Rule {
	allowed, names := make([]any, len(values)), make([]string, len(values))
	for i, v := range values {
		allowed[i], names[i] = v, string(v)
	}
	return validation.In(allowed...).Error("must be one of " + strings.Join(names, ", "))
}

// A judged is a field, and what its rules say of it.
type judged struct {
	name string
	err  error
}

// broken are the fields whose rules are broken, as validation.ValidateStruct tells them.
func broken(fields ...judged) error {
	var all validation.Errors
	for _, f := range fields {
		if f.err == nil {
			continue
		}
		if all == nil {
			all = validation.Errors{}
		}
		all[f.name] = f.err
	}
	if all == nil {
		return nil
	}
	return all
}

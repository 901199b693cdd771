package commands

import (
	"strings"
	"testing"

	"truebond/events"
)

func TestAValueThatIsNotPossibleIsToldWhichAre(t *testing.T) {
	for what, err := range map[string]error{
		"admin, finance":           CreateStaff{Role: "king"}.Validate(),
		"credits:deduct, operator": CreateAPIKey{Name: "n", Scopes: []string{"all"}}.Validate(),
		"audio, video":             InitiateCall{To: "usr_1", Kind: "carrier pigeon"}.Validate(),
		"INR, USD":                 Purchase{Package: "small", Currency: "inr"}.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), "must be one of "+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := (InitiateCall{To: "usr_1", Kind: events.AudioCall}).Validate(); err != nil {
		t.Error(err)
	}
}

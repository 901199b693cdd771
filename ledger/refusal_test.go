package ledger

import (
	"errors"
	"fmt"
	"testing"
)

func TestARefusalIsEachOfItsCodeAndNoOther(t *testing.T) {
	err := fmt.Errorf("charge: %w", Refuse(CodeCallOver, "The call is over.").About("call_id"))
	if !errors.Is(err, &Refusal{Code: CodeCallOver}) {
		t.Error("it is not the one of its code")
	}
	for _, other := range []error{&Refusal{Code: CodeNothingToDo}, &Refusal{}, errors.New("call_over")} {
		if errors.Is(err, other) {
			t.Errorf("it is %#v too", other)
		}
	}
}

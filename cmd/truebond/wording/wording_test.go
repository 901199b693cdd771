package wording

import "testing"

func TestOneOfSomethingIsSaidAsOne(t *testing.T) {
	for got, want := range map[string]string{
		Events(0): "0 events", Events(uint64(1)): "1 event", Events(2): "2 events",
		EventRange(5, 5): "event 5", EventRange(5, 7): "the events 5 to 7",
	} {
		if got != want {
			t.Errorf("it says %q, not %q", got, want)
		}
	}
}

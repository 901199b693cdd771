package main

import (
	"strings"
	"testing"

	"truebond/http"
)

func TestOneOfSomethingIsSaidAsOne(t *testing.T) {
	for got, want := range map[string]string{
		eventsIn(0): "0 events", eventsIn(uint64(1)): "1 event", eventsIn(2): "2 events",
		eventsFrom(5, 5): "event 5", eventsFrom(5, 7): "the events 5 to 7",
	} {
		if got != want {
			t.Errorf("it says %q, not %q", got, want)
		}
	}
	var said strings.Builder
	err := report(&said, []http.CompareLine{{View: "users", Result: &http.Compared{Documents: 1, Position: 9, Drift: 1}}})
	if want := "users: 1 document compared up to position 9, 1 differs\n"; !strings.HasPrefix(said.String(), want) || err == nil {
		t.Errorf("it says %q, not %q, and %v", said.String(), want, err)
	}
}

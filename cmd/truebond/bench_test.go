package main

import (
	"io"
	"strings"
	"testing"

	"truebond/cmd/truebond/bench"
)

func TestAServerIsMeasuredOnALongLog(t *testing.T) {
	t.Setenv(asProgram, "1")
	t.Setenv("GOGC", "20") // garbage is collected sooner
	o := bench.Options{Quick: true, Rounds: 1, Events: 2000, Accounts: 50}
	rows, err := bench.Run(t.Context(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.Case)
		if r.P50+r.MiB <= 0 {
			t.Errorf("nothing was measured: %+v", r)
		}
	}
	if strings.Join(names, " ") != "start-short command-first-short command-short memory-short cache-short "+
		"start-long command-first-long command-long memory-long cache-long" {
		t.Errorf("measured were %v", names)
	}
}

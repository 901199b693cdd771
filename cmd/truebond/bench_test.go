package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
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

func TestABenchTellsWhereItsTimeGoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpu.out")
	stop, err := startProfile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(profile, []byte("\x1f\x8b")) { // gzip, as pprof reads it
		t.Errorf("the profile begins with %x: %v", profile[:min(len(profile), 8)], err)
	}
}

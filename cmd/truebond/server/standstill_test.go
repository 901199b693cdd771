package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestViewsThatStandStillAreToldOf(t *testing.T) {
	var told bytes.Buffer
	var position, last uint64
	var building []string
	s := standstill{
		position: func() uint64 { return position }, last: func() uint64 { return last },
		building: func() []string { return building }, logger: slog.New(slog.NewTextHandler(&told, nil)),
	}
	now := time.Now()
	after := func(d time.Duration) bool {
		t.Helper()
		told.Reset()
		now = now.Add(d)
		s.look(t.Context(), now)
		return strings.Contains(told.String(), "stand still")
	}
	last = 7
	if after(0) {
		t.Error("it is told at the first look")
	}
	position = 7
	if after(0) || after(time.Hour) {
		t.Error("views that lack nothing are said to stand still")
	}
	last = 9
	if after(time.Second) || after(standstillMax/2) {
		t.Error("it is told too soon")
	}
	if !after(standstillMax) || !strings.Contains(told.String(), "position=7 behind=2") {
		t.Errorf("nobody is told: %q", told.String())
	}
	position = 8
	if after(time.Second) {
		t.Error("views that move are said to stand still")
	}
	building = []string{"people"}
	if after(time.Hour) {
		t.Error("views that are built are said to stand still")
	}
}

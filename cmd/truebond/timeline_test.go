package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var timeline = flag.String("timeline", "", "folder that gets what all servers of a cluster said in each round")

// notes are what a test has to say in the timeline. They are kept only if there is one.
type notes struct {
	mu   sync.Mutex
	said []line
}

type line struct {
	at        time.Time
	who, text string
}

func (n *notes) add(format string, args ...any) {
	if *timeline == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, line{at: time.Now(), text: fmt.Sprintf(format, args...)})
}

// by are the notes as somebody's lines.
func (n *notes) by(who string) (all []line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range n.said {
		all = append(all, line{one.at, who, one.text})
	}
	return all
}

const roundBegins = "round begins: "

// noteRound notes that a fault is about to happen, and who leads what.
func (s *stage) noteRound(fault string) {
	if *timeline == "" {
		return
	}
	said := []string{fmt.Sprintf("nats-%d leads the log", s.nats.Leader("EVENTS")+1)}
	for _, n := range s.nodes {
		said = append(said, n.url()+": "+n.role())
	}
	s.notes.add("%s%s; %s", roundBegins, fault, strings.Join(said, ", "))
}

// keepTimeline writes down what everybody has said since the round began, in order, with
// the seconds since the fault.
func (s *stage) keepTimeline(t *testing.T, round string, longest time.Duration) {
	t.Helper()
	if *timeline == "" {
		return
	}
	all := append(s.notes.by("test"), s.load.notes.by("load")...)
	for i, file := range s.nats.Logs() {
		all = append(all, linesOf(t, fmt.Sprintf("nats-%d", i+1), file, natsTime)...)
	}
	for i, file := range s.mongo.Logs() {
		all = append(all, linesOf(t, fmt.Sprintf("mongod-%d", i+1), file, mongoTime)...)
	}
	for i, n := range s.nodes {
		all = append(all, linesOf(t, fmt.Sprintf("server-%d", i+1), n.said, serverTime)...)
	}
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	var began, fault time.Time
	for _, l := range all {
		if l.who == "test" && strings.HasPrefix(l.text, roundBegins) {
			began, fault = l.at, time.Time{}
		} else if l.who == "test" && fault.IsZero() {
			fault = l.at
		}
	}
	if fault.IsZero() {
		fault = began
	}
	var text strings.Builder
	for _, l := range all {
		if !l.at.Before(began) {
			fmt.Fprintf(&text, "%8.3f %-9s %s\n", l.at.Sub(fault).Seconds(), l.who, l.text)
		}
	}
	name := fmt.Sprintf("%s-%.1fs.txt", strings.ReplaceAll(round, " ", "-"), longest.Seconds())
	if err := os.WriteFile(filepath.Join(*timeline, name), []byte(text.String()), 0o600); err != nil {
		t.Error(err)
	}
}

// linesOf reads a log. A line without a time, as of a panic, is as old as the one before it.
func linesOf(t *testing.T, who, file string, timeOf func(text string) time.Time) (all []line) {
	t.Helper()
	said, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	var at time.Time
	for text := range strings.Lines(string(said)) {
		if its := timeOf(text); !its.IsZero() {
			at = its
		}
		all = append(all, line{at, who, strings.TrimSuffix(text, "\n")})
	}
	if at.IsZero() {
		t.Errorf("%s has said nothing with a time", who)
	}
	return all
}

// natsTime is when a NATS server said a line, `[pid] 2006/01/02 15:04:05.000000 …`; zero if
// the line has no time.
func natsTime(text string) time.Time {
	const layout = "2006/01/02 15:04:05.000000"
	_, text, _ = strings.Cut(text, "] ")
	at, err := time.Parse(layout, text[:min(len(layout), len(text))])
	if err != nil {
		return time.Time{}
	}
	return at
}

// serverTime is the same of a server of ours.
func serverTime(text string) time.Time {
	var said struct{ Time time.Time }
	if json.Unmarshal([]byte(text), &said) != nil {
		return time.Time{}
	}
	return said.Time
}

// mongoTime is the same of a mongod.
func mongoTime(text string) time.Time {
	var said struct {
		T struct {
			Date time.Time `json:"$date"`
		}
	}
	if json.Unmarshal([]byte(text), &said) != nil {
		return time.Time{}
	}
	return said.T.Date
}

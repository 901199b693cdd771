package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var clusterTimeline = flag.String("cluster-timeline", "", "folder that gets what all servers said in each round")

// roles tells who leads what.
func (s *stage) roles() string {
	var said []string
	for _, n := range s.nats {
		if n.leads() {
			said = append(said, n.settings.Name+" leads the log")
		}
	}
	for _, n := range s.nodes {
		said = append(said, n.url()+": "+n.role())
	}
	return strings.Join(said, ", ")
}

// keepTimeline writes down what everybody has said since the round began, in order, with
// the seconds since the fault.
func (s *stage) keepTimeline(t *testing.T, round string, longest time.Duration) {
	t.Helper()
	if *clusterTimeline == "" {
		return
	}
	type heard struct {
		line
		who string
	}
	var all []heard
	hear := func(who string, l *lines) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, one := range l.said {
			all = append(all, heard{one, who})
		}
	}
	hear("test", &s.notes)
	hear("load", &s.load.notes)
	for _, n := range s.nats {
		hear(n.settings.Name, &n.logs)
	}
	for i, n := range s.nodes {
		hear(fmt.Sprintf("server-%d", i+1), &n.logs)
	}
	slices.SortStableFunc(all, func(a, b heard) int { return a.at.Compare(b.at) })
	var began, fault time.Time
	for _, h := range all {
		if h.who == "test" && strings.HasPrefix(h.text, "round begins") {
			began, fault = h.at, time.Time{}
		} else if h.who == "test" && fault.IsZero() {
			fault = h.at
		}
	}
	if fault.IsZero() {
		fault = began
	}
	var text strings.Builder
	for _, h := range all {
		if !h.at.Before(began) {
			fmt.Fprintf(&text, "%8.3f %-9s %s\n", h.at.Sub(fault).Seconds(), h.who, h.text)
		}
	}
	name := fmt.Sprintf("%s-%.1fs.txt", strings.ReplaceAll(round, " ", "-"), longest.Seconds())
	if err := os.WriteFile(filepath.Join(*clusterTimeline, name), []byte(text.String()), 0o600); err != nil {
		t.Error(err)
	}
}

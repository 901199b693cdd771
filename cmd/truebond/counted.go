package main

import "fmt"

// counted is a number with what it counts, or with what is said of that: "1 event is",
// "2 events are".
func counted[N int | int64 | uint64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// eventsIn is how many events there are.
func eventsIn[N int | int64 | uint64](n N) string { return counted(n, "event", "events") }

// eventsFrom names one event or several that follow each other.
func eventsFrom(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("event %d", first)
	}
	return fmt.Sprintf("the events %d to %d", first, last)
}

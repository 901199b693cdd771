package main

import (
	"os"
	"runtime/debug"
)

// What a server allocates is short-lived, and what it keeps is small: collecting at
// five times that, and not at twice, spares a fifth of the processor. The limit makes it
// collect more often long before a machine of ours would be out of memory.
const (
	garbagePercent = 400
	memoryMax      = 2 << 30 // bytes
)

// tuneMemory says how often garbage is collected, unless the environment says it.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryMax)
	}
}

package main

import (
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
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
		debug.SetMemoryLimit(memoryLimit(os.DirFS("/")))
	}
}

// memoryLimit is half of what a small machine or container has, in bytes: SQLite's pages and the
// system's cache of files need the other half.
func memoryLimit(root fs.FS) int64 {
	limit := int64(memoryMax)
	for _, file := range []string{
		"sys/fs/cgroup/memory.max",                   // a container's, cgroup v2
		"sys/fs/cgroup/memory/memory.limit_in_bytes", // likewise, v1
		"proc/meminfo",                               // its first line: MemTotal: 24684084 kB
	} {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(string(text), "\n")
		number, inKiB := strings.CutSuffix(strings.TrimPrefix(line, "MemTotal:"), "kB")
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil {
			continue // it says `max`: there is no limit
		}
		if inKiB {
			n <<= 10
		}
		limit = min(limit, n/2)
	}
	return limit
}

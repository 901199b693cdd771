package main

import (
	"testing"
	"testing/fstest"
)

func TestASmallMachineGivesHalfOfItsMemory(t *testing.T) {
	const (
		v2      = "sys/fs/cgroup/memory.max"
		v1      = "sys/fs/cgroup/memory/memory.limit_in_bytes"
		meminfo = "proc/meminfo"
	)
	for name, c := range map[string]struct {
		files map[string]string
		mib   int64
	}{
		"nothing is known":      {nil, 2048},
		"a large machine":       {map[string]string{meminfo: "MemTotal:       24684084 kB\nMemFree: 1 kB\n", v2: "max\n"}, 2048},
		"a small machine":       {map[string]string{meminfo: "MemTotal:        1048576 kB\nMemFree: 1 kB\n"}, 512},
		"a container, v2":       {map[string]string{meminfo: "MemTotal:       24684084 kB\n", v2: "536870912\n"}, 256},
		"a container, v1":       {map[string]string{meminfo: "MemTotal:       24684084 kB\n", v1: "1073741824\n"}, 512},
		"a container without":   {map[string]string{meminfo: "MemTotal:        2097152 kB\n", v1: "9223372036854771712\n"}, 1024},
		"something else in one": {map[string]string{meminfo: "no such line\n", v2: ""}, 2048},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for file, text := range c.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := memoryLimit(root); got != c.mib<<20 {
				t.Errorf("%d MiB, not %d", got>>20, c.mib)
			}
		})
	}
}

package server

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is what the Go tool stamped into the program: module version or commit,
// Go version, platform.
func Version() string {
	version, commit, changed := "(unknown)", "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = ", commit " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = ", changed since"
			}
		}
	}
	return fmt.Sprintf("truebond %s%s%s, %s, %s/%s",
		version, commit, changed, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
)

// What a guide marks as `sh` is pasted into a shell, block after block; what it marks as
// `console` is only shown. A `json` block behind it is what they print last: all that the
// guide shows must be in it.
func TestWhatTheGuidesSayWorksWhenPasted(t *testing.T) {
	for _, guide := range []string{
		"README.md", "docs/app-developer.md", "docs/finance.md", "docs/operator.md", "docs/auditor.md",
	} {
		t.Run(guide, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../..", guide))
			if err != nil {
				t.Fatal(err)
			}
			shell := newShell(t)
			steps := stepsOf(string(text))
			if len(steps) == 0 {
				t.Fatal("the guide has nothing to paste")
			}
			for i, printed := range shell.paste(steps) {
				if steps[i].answer != "" {
					shell.compare(steps[i].answer, printed)
				}
			}
		})
	}
}

func TestWhatTheDemoPrintsWorksWhenPasted(t *testing.T) {
	shell := newShell(t)
	var printed bytes.Buffer
	if err := page.Execute(&printed, shell.told); err != nil {
		t.Fatal(err)
	}
	_, commands, found := strings.Cut(printed.String(), "Try (paste as it stands)")
	if !found {
		t.Fatalf("the demo does not say what to try:\n%s", &printed)
	}
	commands, _, _ = strings.Cut(commands, "  # every event as it stands in the log") // it ends with Ctrl-C only
	answer := shell.paste([]step{{commands: commands}})[0]
	for _, said := range []string{
		`"available_after"`, `"body":"Hello again"`, `"charged":2`, `"totals"`, `"received":true`,
	} {
		if !strings.Contains(answer, said) {
			t.Errorf("nothing said %s:\n%s", said, answer)
		}
	}
}

func TestTheDemoNamesTheProgramAsAShellFindsIt(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for called, want := range map[string]string{
		"truebond":                         "truebond",
		"./truebond":                       filepath.Join(here, "truebond"),
		"/opt/truebond":                    "/opt/truebond",
		"/tmp/go-build1/b001/exe/truebond": "go run ./cmd/truebond",
	} {
		if got := programName(called); got != want {
			t.Errorf("called as %s: %s", called, got)
		}
	}
}

// A step is a block of commands, and the answer that a guide shows behind it.
type step struct{ commands, answer string }

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

func stepsOf(guide string) []step {
	var steps []step
	for _, block := range fence.FindAllStringSubmatch(guide, -1) {
		switch {
		case block[1] == "sh":
			steps = append(steps, step{commands: block[2]})
		case block[1] == "json" && len(steps) > 0 && steps[len(steps)-1].answer == "":
			steps[len(steps)-1].answer = block[2]
		}
	}
	return steps
}

// A shell is a folder with a demo's server in it, where commands can be pasted.
type shell struct {
	t      *testing.T
	folder string
	told   told
}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, needed := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(needed); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("there is no %s: tools/servers.sh installs it", needed)
			}
			t.Skipf("THE GUIDES ARE NOT TRIED: there is no %s", needed)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := &shell{t: t, folder: t.TempDir()}
	server, err := server.Start(ctx, server.Options{
		Data: filepath.Join(s.folder, dataDefault), Listen: "127.0.0.1:0", TestClock: true,
		Archive: filepath.Join(s.folder, "archive"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if s.told, err = tellStory(ctx, server); err != nil {
		t.Fatal(err)
	}
	s.told.Data, s.told.Program = dataDefault, "truebond"
	return s
}

// paste runs steps one after the other in one shell, and gives what each has printed.
// The first command that fails ends it.
func (s *shell) paste(steps []step) []string {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	// curl fails here when it is answered with an error.
	script := fmt.Sprintf("truebond() { %s=1 %q \"$@\"; }\n", asProgram, exe) +
		"curl() { command curl -S --fail-with-body \"$@\"; }\n"
	const end = "\x1e"
	for _, step := range steps {
		script += step.commands + "\nprintf '" + end + "'\n"
	}
	script = strings.ReplaceAll(script, "http://127.0.0.1:8080", s.told.URL)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	run.Dir = s.folder
	var out, errs bytes.Buffer
	run.Stdout, run.Stderr = &out, &errs
	failed := run.Run()
	printed := strings.Split(out.String(), end)
	if failed != nil {
		n := len(printed) - 1
		s.t.Fatalf("%v in step %d:\n%s\nit printed:\n%s\n%s", failed, n+1, steps[n].commands, printed[n], &errs)
	}
	return printed[:len(steps)]
}

// compare demands that what a guide shows is in the last JSON that was printed.
func (s *shell) compare(shown, printed string) {
	s.t.Helper()
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	var want, got any
	if err := json.Unmarshal([]byte(shown), &want); err != nil {
		s.t.Fatalf("the guide shows no JSON: %v\n%s", err, shown)
	}
	for values := json.NewDecoder(strings.NewReader(lines[len(lines)-1])); values.More(); {
		if err := values.Decode(&got); err != nil {
			s.t.Fatalf("the answer is no JSON: %v\n%s", err, printed)
		}
	}
	if at := differs("", want, got); at != "" {
		s.t.Errorf("the answer differs from the guide at %s:\n%s\nthe guide:\n%s", at, printed, shown)
	}
}

// differs tells where an answer is not as shown; nothing if it is. What a guide cuts short
// with … may go on in any way; times and positions may be others.
func differs(at string, shown, real any) string {
	if fmt.Sprintf("%T", shown) != fmt.Sprintf("%T", real) {
		return at
	}
	switch shown := shown.(type) {
	case map[string]any:
		for name, value := range shown {
			member, there := real.(map[string]any)[name]
			if !there {
				return at + "/" + name
			}
			if below := differs(at+"/"+name, value, member); below != "" && name != "position" {
				return below
			}
		}
	case []any:
		elements := real.([]any)
		if len(elements) < len(shown) {
			return at
		}
		for i, value := range shown {
			if below := differs(fmt.Sprintf("%s/%d", at, i), value, elements[i]); below != "" {
				return below
			}
		}
	case string:
		start, _, cut := strings.Cut(shown, "…")
		if _, err := time.Parse(time.RFC3339, shown); err == nil {
			return ""
		}
		if shown == real || cut && strings.HasPrefix(real.(string), start) {
			return ""
		}
		return at
	default:
		if shown != real {
			return at
		}
	}
	return ""
}

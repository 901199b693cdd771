package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the README and all that is written in docs/, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found[path] = string(text)
		}
	}
	return found
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```$")
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notOfName = regexp.MustCompile(`[^\w\- ]`)
	link      = regexp.MustCompile(`\]\(([^)\s]*)\)`)
)

// anchors are the names that GitHub gives to a page's headings.
func anchors(page string) map[string]bool {
	names := map[string]bool{"": true}
	for _, h := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		name := notOfName.ReplaceAllString(strings.ToLower(h[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	all := pages(t)
	for path, text := range all {
		for _, l := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
			if strings.HasPrefix(l[1], "https://") {
				continue
			}
			file, anchor, _ := strings.Cut(l[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", path, l[1], err)
			} else if !anchors(all[target])[anchor] {
				t.Errorf("%s: %s: the page has no such heading", path, l[1])
			}
		}
	}
}

// What shows a promise must go on being there when tests are renamed or moved.
func TestPagesNameTestsAndBenchmarksThatThereAre(t *testing.T) {
	command := regexp.MustCompile(`go test (\./\S+).*? -(run|bench) '?(\w+)`)
	kinds := map[string]string{"run": "Test", "bench": "Benchmark"}
	names := 0
	for path, text := range pages(t) {
		for _, c := range command.FindAllStringSubmatch(text, -1) {
			names++
			named := regexp.MustCompile(`(?m)^func ` + kinds[c[2]] + `\w*` + strings.TrimPrefix(c[3], kinds[c[2]]))
			if !named.MatchString(tests(t, c[1])) {
				t.Errorf("%s: %s has no %s for `%s`", path, c[1], kinds[c[2]], c[0])
			}
		}
	}
	if names == 0 {
		t.Error("the pages name none at all")
	}
}

// tests are the sources of a package's tests.
func tests(t *testing.T, folder string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(source)
	}
	return all.String()
}

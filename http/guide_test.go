package http

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// The guide's table of errors is written by hand, and must have them all.
func TestTheGuideListsEveryErrorWithItsStatus(t *testing.T) {
	guide, err := os.ReadFile("../docs/app-developer.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `(\\w+)` \\|").FindAllStringSubmatch(string(guide), -1) {
		listed[row[2]] = row[1]
	}
	for code, status := range statuses {
		if listed[code] != fmt.Sprint(status) {
			t.Errorf("%s is %d, and the guide says %q", code, status, listed[code])
		}
		delete(listed, code)
	}
	for code := range listed {
		t.Errorf("the guide lists %s, which there is not", code)
	}
}

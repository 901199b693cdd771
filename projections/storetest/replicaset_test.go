package storetest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTheSetIsAsComposeAndTheGuideMakeIt(t *testing.T) {
	for _, file := range []string{"../../compose.yaml", "../../docs/cluster.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range setSettings() {
			if setting := fmt.Sprintf("%s: %v", name, value); !strings.Contains(string(text), setting) {
				t.Errorf("%s lacks %q", file, setting)
			}
		}
	}
}

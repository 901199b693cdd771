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
		for _, name := range []string{"tcp_retries2", "tcp_syn_retries", "tcp_keepalive_time"} { // of the hosts
			if setting := "net.ipv4." + name; !strings.Contains(string(text), setting) {
				t.Errorf("%s lacks %q", file, setting)
			}
		}
		for name, value := range setSettings() {
			if setting := fmt.Sprintf("%s: %v", name, value); !strings.Contains(string(text), setting) {
				t.Errorf("%s lacks %q", file, setting)
			}
		}
	}
}

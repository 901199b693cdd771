package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// said is what the program printed, and what it ended with.
type said struct {
	code        int
	out, errout string
}

// truebond runs the program as a shell would.
func truebond(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	var out, errout bytes.Buffer
	code := run(context.Background(), args, strings.NewReader(stdin), &out, &errout)
	return said{code, out.String(), errout.String()}
}

// ends demands how the program ended, and a part of what it printed then.
func (s said) ends(t *testing.T, code int, part string) {
	t.Helper()
	if s.code != code || !strings.Contains(s.out+s.errout, part) {
		t.Errorf("it ended with %d, not %d, or did not say %q:\n%s%s", s.code, code, part, s.out, s.errout)
	}
}

func TestWithoutArgumentsItExplainsItself(t *testing.T) {
	help := truebond(t, "")
	help.ends(t, exitDone, "truebond demo")
	for _, name := range []string{"serve", "demo", "admin", "apikey", "erase", "rebuild", "tail", "trigger", "version"} {
		if !strings.Contains(help.out, "\n  "+name+" ") {
			t.Errorf("%s is not explained", name)
		}
	}
}

func TestEveryCommandTeachesAndStandsInAGroup(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || c.HasParent() && !c.Parent().HasParent() && c.GroupID == "" {
			t.Errorf("%s has no explanation or no group", c.CommandPath())
		}
		if c.Flags().HasFlags() && c.Example == "" && c.Name() != "demo" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(rootCommand())
}

func TestAWrongCommandLineIsAMisuseThatNamesTheFault(t *testing.T) {
	t.Chdir(t.TempDir())
	for line, fault := range map[string]string{
		"dance":                          `no subcommand "dance"`,
		"vershion":                       "did you mean version?",
		"admin creat":                    "did you mean create?",
		"version now":                    `"now" is one argument too many`,
		"erase":                          "the user's id is missing",
		"erase usr_1 --really":           "--really",
		"admin create --role admin":      "--email is missing",
		"apikey create --name x":         "--scope is missing",
		"trigger":                        "the event",
		"trigger charge.refunded":        "--object is missing",
		"tail --after -1":                "--after takes a whole number, 0 or more, not -1",
		"tail --after x":                 "--after takes a whole number, 0 or more, not x",
		"serve --archive-every soon":     "--archive-every takes a time such as 90s or 24h, not soon",
		"serve --log-level loud":         "--log-level takes debug, info, warn or error, not loud",
		"restore --unsigned=perhaps":     "--unsigned takes true or false, not perhaps",
		"help dance":                     `no subcommand "dance"`,
		"help serv":                      "did you mean serve?",
		"help serve now":                 `no subcommand "now"`,
		"help vault dance":               `no subcommand "dance"`,
		"tail --server ftp://x":          "--server takes a URL",
		"tail --server http://x --key y": "over https only",
		"admin create --email e@x.org --role boss":                   "--role is admin or finance",
		"trigger payment_intent.succeeded":                           "--intent is missing",
		"trigger payment_intent.succeeded --intent pi_1 --amount -5": "--amount -5",
		"trigger charge.refunded --object charge.json --amount 5":    "--object says all",
		"serve --archive-every 0s":                                   "--archive-every 0s is not above 0",
		"serve --archive-every -1m":                                  "--archive-every -1m0s",
		"serve --compare-every -1h":                                  "--compare-every -1h0m0s",
		"serve --replicas 0":                                         "--replicas takes 1 to 5, not 0",
		"serve --listen 8080":                                        "--listen 8080 is not an address",
		"serve --trust-proxy 10.0.0.1":                               "--trust-proxy",
		"demo --listen 8080":                                         "--listen 8080 is not an address",
		"rebuild --replicas 6":                                       "--replicas",
		"bench --rounds -1":                                          "--rounds -1",
		"bench --events 5 --case http":                               "--events measures nothing else",
		"restore --from x --data y --key z":                          "--key",
		"verify --key x":                                             "--key",
		"verify --archive x --data y":                                "--data",
		"verify receipt r.json --key x":                              "--key",
	} {
		got := truebond(t, "", strings.Fields(line)...)
		got.ends(t, exitMisused, fault)
		if got.out != "" || !strings.Contains(got.errout, "--help`.") {
			t.Errorf("%s: no way on is shown, or not on standard error: %q %q", line, got.out, got.errout)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("it has made %v: %v", left, err)
	}
}

func TestAFlagOfAVariableThatIsNotSetIsNotTakenForAbsent(t *testing.T) {
	for _, line := range []string{
		"verify --archive=", "verify --key=", "restore --from x --data y --until=", "archive --nats=",
	} {
		truebond(t, "", strings.Fields(line)...).ends(t, exitMisused, "is empty")
	}
}

func TestHelpIsThatOfTheCommand(t *testing.T) {
	for _, line := range []string{"", "serve", "admin", "admin create"} {
		asked := truebond(t, "", append([]string{"help"}, strings.Fields(line)...)...)
		asked.ends(t, exitDone, "")
		if want := truebond(t, "", append(strings.Fields(line), "--help")...); asked != want {
			t.Errorf("help %s is\n%s\nand not\n%s", line, asked.out, want.out)
		}
	}
}

func TestItSaysItsVersion(t *testing.T) {
	for _, asked := range []string{"version", "--version"} {
		truebond(t, "", asked).ends(t, exitDone, "truebond ")
	}
}

func TestWhatIsRefusedLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for what, args := range map[string][]string{
		"listen on":           {"serve", "--listen", taken.Addr().String(), "--data"},
		"there is no archive": {"restore", "--from", t.TempDir(), "--data"},
	} {
		dir := t.TempDir()
		truebond(t, "", append(args, filepath.Join(dir, "some", "data"))...).ends(t, exitFailed, what)
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s has left %v: %v", args[0], left, err)
		}
		truebond(t, "", append(args, dir)...).ends(t, exitFailed, what)
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s has removed what it has not made: %v", args[0], err)
		}
	}
}

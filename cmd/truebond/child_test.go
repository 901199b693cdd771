package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/events/jetstream/natstest"
)

// asProgram in the environment makes the test binary the program itself.
const asProgram = "TRUEBOND_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	natstest.RunNode()
	os.Exit(m.Run())
}

// A child is a server in a process of its own, which can be killed.
type child struct {
	cmd   *exec.Cmd
	url   string        // once it serves
	said  string        // the file that it writes its log to
	told  chan string   // where it serves, once
	ended chan struct{} // closed when it has ended, with
	err   error
}

// spawn starts `truebond serve` on a data folder, and waits until it serves.
func spawn(t *testing.T, data string, more ...string) *child {
	t.Helper()
	c, err := launch(t, server.Options{Data: data, Listen: "127.0.0.1:0"}, nil, more...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// launch is spawn for any options and flags, with settings on top of those of the environment. Its
// error is what the server says when it does not come up.
func launch(t testing.TB, o server.Options, set []string, more ...string) (*child, error) {
	t.Helper()
	args := []string{"--data", o.Data, "--listen", o.Listen, "--log-level", "warn"}
	if o.NATS != "" {
		args = append(args, "--nats", o.NATS, "--replicas", strconv.Itoa(o.Replicas))
	}
	c, err := bear(t, nil, set, append(args, more...)...)
	if err != nil {
		return nil, err
	}
	return c, c.serves()
}

// bear starts a server on a host, without waiting for it. It is killed with the test, or when the
// test's process ends, however that ends.
func bear(t testing.TB, in *host, set []string, flags ...string) (*child, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line := append(append(in.enter(), exe, "serve"), flags...)
	c := &child{cmd: exec.Command(line[0], line[1:]...), told: make(chan string, 1), ended: make(chan struct{})}
	c.cmd.Env = append(append(os.Environ(), asProgram+"=1"), set...)
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	c.cmd.Stderr, c.said = said, said.Name()
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.ended)
		reader := bufio.NewReader(out)
		if line, err := reader.ReadString('\n'); err == nil {
			c.told <- strings.TrimSpace(strings.TrimPrefix(line, "TrueBond serves on "))
		}
		_, _ = io.Copy(io.Discard, reader) // to the end of the process
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("a server said\n%s", c.hasSaid())
		}
		if at := slices.Index(flags, "--data"); at >= 0 {
			datafolder.Folder{Path: flags[at+1]}.RemoveDeadSocket()
		}
	})
	return c, nil
}

// serves waits until the server serves. Its error is what the server says when it does not.
func (c *child) serves() error {
	select {
	case c.url = <-c.told:
		return nil
	case <-c.ended:
		return fmt.Errorf("the server did not come up: %w\n%s", c.err, c.hasSaid())
	case <-time.After(serveMax):
		return fmt.Errorf("the server does not serve; it says\n%s", c.hasSaid())
	}
}

const serveMax = 2 * time.Minute // that a start takes on a busy machine; a second or two else

// hasSaid is the end of what the server has logged, or of how it has crashed the beginning. What was
// answered with 500 comes first.
func (c *child) hasSaid() string {
	const most = 3000 // bytes; enough for the reason, and no flood of the same line
	text, err := os.ReadFile(c.said)
	if err != nil {
		return err.Error()
	}
	for _, crash := range []string{"\nfatal error: ", "\nunexpected fault ", "\npanic: "} {
		if at := bytes.Index(text, []byte(crash)); at >= 0 {
			return string(text[at:min(at+most, len(text))])
		}
	}
	var faults []byte
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte(`"status":500`)) && len(faults) < most {
			faults = append(faults, line...)
		}
	}
	return string(append(faults, text[max(0, len(text)-most):]...))
}

func (c *child) signal(s os.Signal) { _ = c.cmd.Process.Signal(s) } // it has ended already, perhaps

// kill ends the server as nothing else does, paused or not, and waits until it is gone.
func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.ended
}

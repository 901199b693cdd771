package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

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
	if settings := os.Getenv(asNATS); settings != "" {
		runNATS(settings)
		return
	}
	os.Exit(m.Run())
}

// A child is a server in a process of its own, which can be killed.
type child struct {
	cmd   *exec.Cmd
	url   string
	said  string        // the file that it writes its log to
	ended chan struct{} // closed when it has ended, with
	err   error
}

// spawn starts `truebond serve` on a data folder, and waits until it serves.
func spawn(t *testing.T, data string, more ...string) *child {
	t.Helper()
	c, err := launch(t, options{data: data, listen: "127.0.0.1:0"}, nil, more...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// launch is spawn for any options and flags, with settings on top of those of the environment. Its
// error is what the server says when it does not come up.
func launch(t testing.TB, o options, set []string, more ...string) (*child, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--data", o.data, "--listen", o.listen, "--log-level", "warn"}
	if o.nats != "" {
		args = append(args, "--nats", o.nats, "--replicas", strconv.Itoa(o.replicas))
	}
	cmd := exec.Command(exe, append(args, more...)...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), set...)
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, said: said.Name(), ended: make(chan struct{})}
	reader := bufio.NewReader(out)
	line, err := reader.ReadString('\n')
	go func() {
		defer close(c.ended)
		_, _ = io.Copy(io.Discard, reader) // to the end of the process
		c.err = cmd.Wait()
	}()
	if err != nil {
		<-c.ended
		return nil, fmt.Errorf("the server did not come up: %w\n%s", c.err, c.hasSaid())
	}
	c.url = strings.TrimSpace(strings.TrimPrefix(line, "TrueBond serves on "))
	return c, nil
}

// hasSaid is the end of what the server has logged.
func (c *child) hasSaid() string {
	const most = 3000 // bytes; enough for the reason, and no flood of the same line
	text, err := os.ReadFile(c.said)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// kill ends the server at once, if it has not ended by itself.
func (c *child) kill(t testing.TB) {
	t.Helper()
	_ = c.cmd.Process.Kill() // it has ended already, perhaps
	<-c.ended
}

package storetest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"truebond/events/porttest"
)

// A Victim is a server of the test's own, to which bad things are done: it can be killed
// and started again on the same address and folder, and frozen.
type Victim struct {
	URL string // for clients of its kind

	t       testing.TB
	addr    string
	line    []string
	log     string // file
	answers func(ctx context.Context, addr string) error
	running *exec.Cmd
}

// MongoVictim is a mongod, a replica set of one node. Its folder outlives its kills, and
// is gone with the test. Skipped and failed as Mongo is.
func MongoVictim(t testing.TB) *Victim {
	t.Helper()
	v := newVictim(t, Place{}, "mongod", "MONGOD", mongodArgs, mongodAnswers)
	v.URL = mongoURL(v.addr, "truebond")
	return v
}

// RedisVictim is a redis-server that keeps nothing. Skipped and failed as Redis is.
func RedisVictim(t testing.TB) *Victim {
	t.Helper()
	v := newVictim(t, Place{}, "redis-server", "REDIS_SERVER", redisArgs, redisAnswers)
	v.URL = "redis://" + v.addr
	return v
}

func newVictim(
	t testing.TB, at Place, name, env string,
	args func(dir, host, port string) []string, answers func(context.Context, string) error,
) *Victim {
	t.Helper()
	program, err := find(name, env)
	if err != nil {
		missing(t, name, err)
	}
	addr, err := porttest.One()
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	host = cmp.Or(at.Host, host) // which has the port free as well
	v := &Victim{t: t, addr: net.JoinHostPort(host, port), answers: answers, log: filepath.Join(t.TempDir(), "log")}
	v.line = append(append(slices.Clone(at.Enter), program), args(t.TempDir(), host, port)...)
	t.Cleanup(v.Kill)
	return v
}

// Addr is where it listens.
func (v *Victim) Addr() string { return v.addr }

// Start starts it, unless it runs, and waits until it answers.
func (v *Victim) Start() {
	v.t.Helper()
	if v.running == nil {
		v.launch()
		v.await()
	}
}

func (v *Victim) launch() {
	v.t.Helper()
	said, err := os.OpenFile(v.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		v.t.Fatal(err)
	}
	defer said.Close() //nolint:errcheck // the process has its own
	cmd := exec.Command(v.line[0], v.line[1:]...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.running = cmd
}

func (v *Victim) await() {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if err = v.answers(ctx, v.addr); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	text, _ := os.ReadFile(v.log)
	v.t.Fatal(fmt.Errorf("%s does not answer: %w\n%s", v.line[0], err, text[max(0, len(text)-1000):]))
}

// Kill ends it at once (SIGKILL), also while it is frozen.
func (v *Victim) Kill() {
	if v.running == nil {
		return
	}
	_ = v.running.Process.Kill() // it has ended already, perhaps
	_ = v.running.Wait()         // it was killed
	v.running = nil
}

// Freeze lets it answer nothing until Thaw (SIGSTOP).
func (v *Victim) Freeze() { v.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (v *Victim) Thaw() { v.signal(syscall.SIGCONT) }

func (v *Victim) signal(s syscall.Signal) {
	v.t.Helper()
	if err := v.running.Process.Signal(s); err != nil {
		v.t.Fatal(err)
	}
}

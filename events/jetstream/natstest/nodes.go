package natstest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// AsNode in the environment makes a test binary the NATS server of the configuration
// file that it names, if its TestMain calls RunNode first.
const AsNode = "TRUEBOND_AS_NATS_NODE"

// RunNode is a NATS server until the process ends, and does not return, when the
// environment says so.
func RunNode() {
	file := os.Getenv(AsNode)
	if file == "" {
		return
	}
	if err := runNode(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runNode(file string) error {
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		return err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	if err := server.Run(s); err != nil {
		return err
	}
	s.WaitForShutdown()
	return nil
}

// Nodes are NATS servers in processes of their own, which can be killed. They keep their
// addresses and folders when they are started again.
type Nodes struct {
	t       testing.TB
	ports   []string
	configs []string
	stores  []string
	running []*exec.Cmd
}

// NewNodes sets servers up, one for each folder, and starts none. Together they are a
// cluster. sync is their jetstream block's sync_interval; empty leaves it out.
func NewNodes(t testing.TB, folders []string, sync string) *Nodes {
	t.Helper()
	n := &Nodes{t: t, running: make([]*exec.Cmd, len(folders))}
	addresses := freeAddresses(t, 2*len(folders))
	routes := make([]string, len(folders))
	for i := range folders {
		routes[i] = "nats://" + addresses[len(folders)+i]
	}
	for i, folder := range folders {
		store := filepath.Join(folder, "nats")
		n.ports, n.stores = append(n.ports, addresses[i]), append(n.stores, store)
		jetstream := fmt.Sprintf("store_dir: %q", store)
		if sync != "" {
			jetstream += ", sync_interval: " + sync
		}
		text := fmt.Sprintf("server_name: nats-%d\nlisten: %q\njetstream { %s }\nlog_file: %q\n",
			i+1, addresses[i], jetstream, filepath.Join(t.TempDir(), "log"))
		if len(folders) > 1 {
			text += fmt.Sprintf("cluster { name: truebond-test, listen: %q, routes: [%s] }\n",
				strings.TrimPrefix(routes[i], "nats://"), strings.Join(routes, ", "))
		}
		config := filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n.configs = append(n.configs, config)
	}
	t.Cleanup(n.KillAll)
	return n
}

// URL names all nodes.
func (n *Nodes) URL() string { return "nats://" + strings.Join(n.ports, ",nats://") }

// Stores are the folders that the nodes keep streams in.
func (n *Nodes) Stores() []string { return n.stores }

// StartAll starts the nodes that do not run and waits until they work together.
func (n *Nodes) StartAll() {
	n.t.Helper()
	for i := range n.running {
		n.Start(i)
	}
	var err error
	for end := time.Now().Add(readyMax); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = n.ask("$JS.API.INFO", &struct{}{}); err == nil {
			return
		}
	}
	n.t.Fatalf("the nodes do not come up: %v", err)
}

// Start starts a node that does not run.
func (n *Nodes) Start(i int) {
	n.t.Helper()
	if n.running[i] != nil {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(exe) // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), AsNode+"="+n.configs[i])
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.running[i] = cmd
}

// Kill ends a node at once (SIGKILL).
func (n *Nodes) Kill(i int) {
	if cmd := n.running[i]; cmd != nil {
		_ = cmd.Process.Kill() // it has ended already, perhaps
		_ = cmd.Wait()         // it was killed
		n.running[i] = nil
	}
}

// KillAll ends all nodes at once.
func (n *Nodes) KillAll() {
	for i := range n.running {
		n.Kill(i)
	}
}

// Leader is the node that leads a stream.
func (n *Nodes) Leader(stream string) int {
	n.t.Helper()
	var info struct {
		Cluster struct{ Leader string }
	}
	for end := time.Now().Add(readyMax); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := n.ask("$JS.API.STREAM.INFO."+stream, &info); err != nil || info.Cluster.Leader == "" {
			continue
		}
		number, err := strconv.Atoi(strings.TrimPrefix(info.Cluster.Leader, "nats-"))
		if err != nil {
			n.t.Fatal(err)
		}
		return number - 1
	}
	n.t.Fatalf("nobody leads %s", stream)
	return 0
}

// ask asks JetStream something. An error is what the servers say, or that they do not.
func (n *Nodes) ask(subject string, answer any) error {
	conn, err := nats.Connect(n.URL(), nats.Timeout(time.Second))
	if err != nil {
		return err
	}
	defer conn.Close()
	msg, err := conn.Request(subject, nil, 2*time.Second)
	if err != nil {
		return err
	}
	var refusal struct {
		Error *struct{ Description string }
	}
	if err := json.Unmarshal(msg.Data, &refusal); err != nil {
		return err
	}
	if refusal.Error != nil {
		return fmt.Errorf("%s: %s", subject, refusal.Error.Description)
	}
	return json.Unmarshal(msg.Data, answer)
}

package natstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	nodes   []node
	running []*exec.Cmd
}

type node struct {
	Place
	client     string // address
	monitoring string // address
	config     string // file
	log        string // file
}

// A Place is where a node runs.
type Place struct {
	Folder string   // it keeps its streams in here
	Host   string   // its address; empty: the loopback
	Enter  []string // begins the command line of what is to run there
}

// In are places on this machine's loopback.
func In(folders ...string) []Place {
	places := make([]Place, len(folders))
	for i, folder := range folders {
		places[i] = Place{Folder: folder}
	}
	return places
}

// NewNodes sets servers up, one for each place, and starts none. Together they are a
// cluster. sync is their jetstream block's sync_interval; empty leaves it out. more are
// further lines of their configuration.
func NewNodes(t testing.TB, places []Place, sync string, more ...string) *Nodes {
	t.Helper()
	n := &Nodes{t: t, running: make([]*exec.Cmd, len(places))}
	const each = 3
	free := freeAddresses(t, each*len(places)) // a host of its own has them free as well
	at := func(i, which int) string {
		_, port, _ := strings.Cut(free[each*i+which], ":")
		return net.JoinHostPort(cmp.Or(places[i].Host, loopback), port)
	}
	var routes []string
	for i := range places {
		routes = append(routes, at(i, 2))
	}
	for i, place := range places {
		dir := t.TempDir()
		made := node{Place: place, client: at(i, 0), monitoring: at(i, 1),
			config: filepath.Join(dir, "nats.conf"), log: filepath.Join(dir, "log")}
		if err := os.WriteFile(made.config, made.configuration(i+1, routes, sync, more), 0o600); err != nil {
			t.Fatal(err)
		}
		n.nodes = append(n.nodes, made)
	}
	t.Cleanup(n.KillAll)
	return n
}

// configuration is the file of the node with a number. A host of its own may be cut off from
// the others: there, silence ends a connection as soon as docs/cluster.md has it.
func (n node) configuration(number int, routes []string, sync string, more []string) []byte {
	jetstream := fmt.Sprintf("store_dir: %q", n.store())
	if sync != "" {
		jetstream += ", sync_interval: " + sync
	}
	text := fmt.Appendf(nil, "server_name: nats-%d\nlisten: %q\nhttp: %q\njetstream { %s }\n"+
		"log_file: %q\nlogtime: true\nlogtime_utc: true\n%s\n",
		number, n.client, n.monitoring, jetstream, n.log, strings.Join(more, "\n"))
	var pings string
	if n.Host != "" {
		text = append(text, "ping_interval: \"2s\"\nping_max: 2\n"...)
		pings = ", ping_interval: \"500ms\", ping_max: 3"
	}
	if len(routes) > 1 {
		text = fmt.Appendf(text, "cluster { name: %s, listen: %q, routes: [nats://%s]%s }\n",
			clusterName, routes[number-1], strings.Join(routes, ", nats://"), pings)
	}
	return text
}

func (n node) store() string { return filepath.Join(n.Folder, "nats") }

// URL names all nodes.
func (n *Nodes) URL() string {
	var urls []string
	for _, each := range n.nodes {
		urls = append(urls, "nats://"+each.client)
	}
	return strings.Join(urls, ",")
}

// Stores are the folders that the nodes keep streams in.
func (n *Nodes) Stores() []string {
	var stores []string
	for _, each := range n.nodes {
		stores = append(stores, each.store())
	}
	return stores
}

// Logs are the files that the nodes write their logs to.
func (n *Nodes) Logs() []string {
	var logs []string
	for _, each := range n.nodes {
		logs = append(logs, each.log)
	}
	return logs
}

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
	line := append(slices.Clone(n.nodes[i].Enter), exe)
	cmd := exec.Command(line[0], line[1:]...) // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), AsNode+"="+n.nodes[i].config)
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

// AwaitRecovery waits until each node says that it has all that the others have. Only then
// may another one fail.
func (n *Nodes) AwaitRecovery() {
	n.t.Helper()
	client := http.Client{Timeout: time.Second}
	for i, each := range n.nodes {
		for end := time.Now().Add(recoveryMax); !each.healthy(client); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				said, _ := os.ReadFile(each.log)
				n.t.Fatalf("nats-%d does not recover; it says\n%s", i+1, said)
			}
		}
	}
}

func (n node) healthy(client http.Client) bool {
	answer, err := client.Get("http://" + n.monitoring + "/healthz")
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
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

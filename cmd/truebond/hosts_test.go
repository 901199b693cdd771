package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// A host is a network namespace with an address of its own; nil is this machine.
type host struct {
	name string
	ip   string
}

func (h *host) address() string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.ip
}

// enter begins the command line of what is to run there.
func (h *host) enter() []string {
	if h == nil {
		return nil
	}
	return []string{"ip", "netns", "exec", h.name}
}

// reaches lets a host's packets to another one through again, or not any more. What comes
// the other way is not touched.
func (h *host) reaches(t testing.TB, other *host, yes bool) {
	verb := "add"
	if yes {
		verb = "del"
	}
	if out, err := exec.Command("ip", "-n", h.name, "route", verb, "blackhole", other.ip+"/32").CombinedOutput(); err != nil && !yes {
		t.Errorf("cut %s off from %s: %v: %s", h.name, other.name, err, out)
	}
}

// hostsKeeper takes the hosts away when its standard input closes, which happens when the
// test's process ends, however it ends.
const hostsKeeper = `
trap '' HUP INT TERM PIPE
bridge=$1; shift
read -r _
i=0
for ns in "$@"; do
  i=$((i + 1))
  ip netns pids "$ns" | xargs -r kill -9
  ip link del "${bridge}v$i" # a namespace lives on as long as a connection of its that nobody hears of
  ip netns del "$ns"
done
ip link del "$bridge"
`

// makeHosts makes hosts that reach each other and this machine, at gateway. They are gone
// with the test. Where they cannot be made, it says why.
func makeHosts(t testing.TB, count int) (hosts []*host, gateway string, err error) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, "", errors.New("there is no `ip`: install Debian's iproute2")
	}
	if os.Getuid() != 0 {
		return nil, "", errors.New("only root may make network namespaces")
	}
	id := os.Getpid() % 60000
	net := fmt.Sprintf("10.213.%d.", id%250)
	bridge := fmt.Sprintf("tb%d", id)
	keeper := exec.Command("sh", "-c", hostsKeeper, "keeper", bridge)
	for i := range count {
		h := &host{name: fmt.Sprintf("tb%d-%d", id, i+1), ip: net + strconv.Itoa(11+i)}
		hosts = append(hosts, h)
		keeper.Args = append(keeper.Args, h.name)
	}
	stdin, err := keeper.StdinPipe()
	if err == nil {
		err = keeper.Start()
	}
	if err != nil {
		return nil, "", err
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = keeper.Wait() })
	gateway = net + "1"
	lines := []string{"link add " + bridge + " type bridge", "addr add " + gateway + "/24 dev " + bridge,
		"link set " + bridge + " up"}
	for i, h := range hosts {
		veth := fmt.Sprintf("%sv%d", bridge, i+1)
		lines = append(lines, "netns add "+h.name,
			"link add "+veth+" type veth peer name eth0 netns "+h.name,
			"link set "+veth+" master "+bridge+" up",
			"-n "+h.name+" addr add "+h.ip+"/24 dev eth0",
			"-n "+h.name+" link set eth0 up", "-n "+h.name+" link set lo up")
	}
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return nil, "", fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return hosts, gateway, nil
}

// relay lets hosts reach a server of this machine's loopback.
func relay(t testing.TB, at, target string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", at+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
					_ = pair[1].Close()
				}()
			}
		}
	}()
	return l.Addr().String()
}

// asNATS in the environment makes the test binary a NATS server with these settings.
const asNATS = "TRUEBOND_AS_NATS"

type natsSettings struct {
	Name, Host, Dir           string
	Port, Cluster, Monitoring int
	Routes                    []string
	Debug                     bool
}

func runNATS(settings string) {
	var n natsSettings
	if err := json.Unmarshal([]byte(settings), &n); err != nil {
		panic(err)
	}
	o := &natsserver.Options{
		ServerName: n.Name, Host: n.Host, Port: n.Port, JetStream: true, StoreDir: n.Dir, SyncAlways: true, NoSigs: true,
		PingInterval: 2 * time.Second, MaxPingsOut: 2, // these and the routes' as docs/cluster.md says
		HTTPHost: n.Host, HTTPPort: n.Monitoring, Debug: n.Debug,
		Cluster: natsserver.ClusterOpts{
			Name: "truebond-test", Host: n.Host, Port: n.Cluster,
			PingInterval: 500 * time.Millisecond, MaxPingsOut: 3,
		},
	}
	for _, r := range n.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		panic(err)
	}
	s.ConfigureLogger()
	s.Start()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	s.Shutdown()
	s.WaitForShutdown()
}

// A natsNode is one NATS server, in a process of its own.
type natsNode struct {
	*process
	host     *host
	settings natsSettings
}

// startNATS starts a NATS server on each host, and gives the URL of all of them.
func startNATS(t testing.TB, hosts []*host) (nodes []*natsNode, urls string) {
	t.Helper()
	free := func(count int) []int { // held until the last one is found, so that they differ
		var ports []int
		for range count {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		}
		return ports
	}
	ports := free(3 * len(hosts))
	var routes, clients []string
	for i, h := range hosts {
		routes = append(routes, net.JoinHostPort(h.address(), strconv.Itoa(ports[3*i])))
		clients = append(clients, "nats://"+net.JoinHostPort(h.address(), strconv.Itoa(ports[3*i+1])))
	}
	for i, h := range hosts {
		n := &natsNode{host: h, settings: natsSettings{
			Name: fmt.Sprintf("nats-%d", i+1), Host: h.address(), Dir: filepath.Join(t.TempDir(), "nats"),
			Cluster: ports[3*i], Port: ports[3*i+1], Monitoring: ports[3*i+2], Routes: routes, Debug: *clusterTimeline != "",
		}}
		n.start(t)
		nodes = append(nodes, n)
	}
	return nodes, strings.Join(clients, ",")
}

func (n *natsNode) start(t testing.TB) {
	text, err := json.Marshal(n.settings)
	if err != nil {
		t.Fatal(err)
	}
	n.process = startProcess(t, n.host, []string{asNATS + "=" + string(text)})
}

// healthy tells whether a server has all that the others have.
func (n *natsNode) healthy() bool {
	client := nethttp.Client{Timeout: time.Second}
	answer, err := client.Get(fmt.Sprintf("http://%s:%d/healthz", n.host.address(), n.settings.Monitoring))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == nethttp.StatusOK
}

// leads tells whether this server leads the log's stream, among the NATS servers.
func (n *natsNode) leads() bool {
	client := nethttp.Client{Timeout: time.Second}
	answer, err := client.Get(fmt.Sprintf("http://%s:%d/jsz?streams=true", n.host.address(), n.settings.Monitoring))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var jsz struct {
		Accounts []struct {
			Streams []struct {
				Name    string                  `json:"name"`
				Cluster struct{ Leader string } `json:"cluster"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	_ = json.NewDecoder(answer.Body).Decode(&jsz)
	for _, a := range jsz.Accounts {
		for _, s := range a.Streams {
			if s.Name == "EVENTS" {
				return s.Cluster.Leader == n.settings.Name
			}
		}
	}
	return false
}

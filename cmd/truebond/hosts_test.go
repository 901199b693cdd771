package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A host is a network namespace with an address of its own; nil is this machine.
type host struct {
	name string
	ip   string
	port string // what the others reach it through
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

// reach is reaches from each of some hosts to each of others.
func reach(t testing.TB, from, to []*host, yes bool) {
	for _, h := range from {
		for _, other := range to {
			h.reaches(t, other, yes)
		}
	}
}

// without are the hosts but one.
func without(hosts []*host, but *host) []*host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == but })
}

// unplug takes a host off the network, or puts it back. Nobody hears that it is gone.
func (h *host) unplug(t testing.TB, yes bool) {
	state := "up"
	if yes {
		state = "down"
	}
	if out, err := exec.Command("ip", "link", "set", h.port, state).CombinedOutput(); err != nil {
		t.Errorf("set %s's port %s: %v: %s", h.name, state, err, out)
	}
}

// givesUp sets a host as docs/cluster.md has it for MongoDB: a connection ends when what was sent
// is not confirmed for 1.4 seconds, or when nothing is sent and the other end is silent for 3; and
// a new one is waited for no longer than 3.
func (h *host) givesUp(t testing.TB) {
	line := append(h.enter(), "sh", "-ec", "cd /proc/sys/net/ipv4; echo 2 >tcp_retries2; echo 1 >tcp_syn_retries;"+
		"echo 1 >tcp_keepalive_time; echo 1 >tcp_keepalive_intvl; echo 2 >tcp_keepalive_probes")
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		t.Errorf("set up %s: %v: %s", h.name, err, out)
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
		h := &host{name: fmt.Sprintf("tb%d-%d", id, i+1), ip: net + strconv.Itoa(11+i),
			port: fmt.Sprintf("%sv%d", bridge, i+1)}
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
	for _, h := range hosts {
		lines = append(lines, "netns add "+h.name,
			"link add "+h.port+" type veth peer name eth0 netns "+h.name,
			"link set "+h.port+" master "+bridge+" up",
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

// Package natstest starts real NATS servers for tests.
package natstest

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"truebond/events/porttest"
)

// readyMax bounds the wait for servers that ought to be there in about a second.
const readyMax = 30 * time.Second

// recoveryMax bounds the wait for a node that was killed or cut off to have all again.
const recoveryMax = 2 * time.Minute

const (
	loopback    = "127.0.0.1"
	clusterName = "truebond-test"
)

// Cluster starts three servers in this process, which find each other over the
// loopback and sync every write. They are gone with the test. The url names all three.
func Cluster(t testing.TB) (url string, servers []*server.Server) {
	t.Helper()
	const size = 3
	routes := freeAddresses(t, size)
	var urls []string
	for i := range size {
		s := start(t, optionsOf(t.TempDir(), i, routes))
		servers = append(servers, s)
		urls = append(urls, s.ClientURL())
	}
	awaitLeader(t, servers)
	return strings.Join(urls, ","), servers
}

// Server starts one server, with the settings given to it on top of ours.
func Server(t testing.TB, dir string, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := baseOptions(dir, "single")
	for _, c := range change {
		c(o)
	}
	return start(t, o)
}

func baseOptions(dir, name string) *server.Options {
	return &server.Options{
		ServerName: name,
		Host:       loopback,
		Port:       server.RANDOM_PORT,
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true,
		NoSigs:     true,
		NoLog:      true,
	}
}

func optionsOf(dir string, i int, routes []string) *server.Options {
	o := baseOptions(dir, "nats-"+strconv.Itoa(i+1))
	host, port, _ := strings.Cut(routes[i], ":")
	o.Cluster.Name = clusterName
	o.Cluster.Host = host
	o.Cluster.Port, _ = strconv.Atoi(port)
	for _, r := range routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	return o
}

func start(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatalf("set up %s: %v", o.ServerName, err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(readyMax) {
		t.Fatalf("%s does not start", o.ServerName)
	}
	return s
}

// awaitLeader waits until the servers have chosen who leads them.
func awaitLeader(t testing.TB, servers []*server.Server) {
	t.Helper()
	for end := time.Now().Add(readyMax); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, s := range servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers) {
				return
			}
		}
	}
	t.Fatal("the servers do not find each other")
}

func freeAddresses(t testing.TB, count int) []string {
	t.Helper()
	found, err := porttest.Free(count)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

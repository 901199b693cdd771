package natstest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a server and does what networks do.
type Proxy struct {
	target string
	listen net.Listener

	mu     sync.Mutex
	change *sync.Cond // mood or conns changed
	mood   mood
	delay  time.Duration
	conns  map[net.Conn]bool
}

type mood int

const (
	passing mood = iota
	deaf
	frozen
)

// NewProxy starts a proxy in front of a server's client URL; any server on TCP will do.
func NewProxy(t testing.TB, clientURL string) *Proxy {
	t.Helper()
	return NewProxyOn(t, loopback, clientURL)
}

// NewProxyOn is NewProxy on another address of this machine's.
func NewProxyOn(t testing.TB, host, clientURL string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: clientURL[strings.LastIndex(clientURL, "/")+1:], listen: l, conns: map[net.Conn]bool{}}
	p.change = sync.NewCond(&p.mu)
	var all sync.WaitGroup
	all.Go(func() { p.accept(&all) })
	t.Cleanup(func() {
		_ = l.Close()
		p.Heal()
		all.Wait()
	})
	return p
}

// URL is where clients connect to.
func (p *Proxy) URL() string { return "nats://" + p.Addr() }

// Addr is the same without a scheme.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// Delay holds back whatever passes for so long, both ways.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// LoseAnswers passes on what clients say and loses what the server answers.
func (p *Proxy) LoseAnswers() { p.feel(deaf) }

// Freeze holds everything back, both ways.
func (p *Proxy) Freeze() { p.feel(frozen) }

// Thaw lets everything pass again, and first what was held back.
func (p *Proxy) Thaw() { p.feel(passing) }

// Heal cuts all connections, with what was held back in them, and lets new ones pass.
func (p *Proxy) Heal() {
	p.Cut()
	p.feel(passing)
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		p.conns[c] = false
	}
	p.change.Broadcast()
}

func (p *Proxy) feel(m mood) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mood = m
	p.change.Broadcast()
}

func (p *Proxy) accept(all *sync.WaitGroup) {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		all.Go(func() { p.carry(client, server, false) })
		all.Go(func() { p.carry(server, client, true) })
	}
}

// carry passes bytes one way until either side ends.
func (p *Proxy) carry(from, to net.Conn, answers bool) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !p.mayPass(from) {
			return
		}
		if answers && p.losesAnswers() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// mayPass waits while the proxy is frozen. It is false when the connection was cut.
func (p *Proxy) mayPass(from net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delay > 0 {
		p.mu.Unlock()
		time.Sleep(p.delay)
		p.mu.Lock()
	}
	for p.mood == frozen && p.conns[from] {
		p.change.Wait()
	}
	return p.conns[from]
}

func (p *Proxy) losesAnswers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mood == deaf
}

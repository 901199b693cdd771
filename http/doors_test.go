package http

import (
	"bufio"
	"io"
	"net"
	nethttp "net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A caller has a connection of its own, which it keeps.
type caller struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (b *bench) calls() *caller {
	b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return &caller{t: b.t, conn: conn, in: bufio.NewReader(conn)}
}

func (c *caller) asks() {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// answered tells whether an answer comes within a time.
func (c *caller) answered(within time.Duration) bool {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		c.t.Fatal(err)
	}
	res, err := nethttp.ReadResponse(c.in, nil)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	return err == nil && res.StatusCode == nethttp.StatusOK
}

func TestOneConnectionTooManyWaitsForAnotherToEnd(t *testing.T) {
	b := serving(t, nil, func(cfg *Config) { cfg.ConnectionsMax = 2 })
	first, second, third := b.calls(), b.calls(), b.calls()
	for _, c := range []*caller{first, second} {
		if c.asks(); !c.answered(5 * time.Second) {
			t.Fatal("one that there is room for was not answered")
		}
	}
	if third.asks(); third.answered(100 * time.Millisecond) {
		t.Error("there was no room for a third, and it was answered")
	}
	if second.asks(); !second.answered(5 * time.Second) {
		t.Error("one that is inside was not answered again")
	}
	_ = first.conn.Close()
	if !third.answered(5 * time.Second) {
		t.Error("the third was not answered when there was room again")
	}
}

func TestTheOperatorComesInHoweverManyOthersThereAre(t *testing.T) {
	b := serving(t, nil, func(cfg *Config) { cfg.ConnectionsMax = 1 })
	first := b.calls()
	if first.asks(); !first.answered(5 * time.Second) {
		t.Fatal("the first was not answered")
	}
	path := filepath.Join(t.TempDir(), "operator.sock")
	b.listen(b.server.ServeOperator, listening(t, "unix", path))
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	operator := &caller{t: t, conn: conn, in: bufio.NewReader(conn)}
	if operator.asks(); !operator.answered(5 * time.Second) {
		t.Error("the operator was not answered")
	}
}

package http

import (
	"context"
	"net"
	nethttp "net/http"
	"sync"
	"time"
)

const drainLook = 5 * time.Millisecond // between two looks at who is still to be told

// kept are the connections whose clients have not been told that the server stops, and
// may send their next request just when it closes its doors.
type kept struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

type connOfRequest struct{}

func (k *kept) opened(ctx context.Context, c net.Conn) context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns[c] = struct{}{}
	return context.WithValue(ctx, connOfRequest{}, c)
}

func (k *kept) changed(c net.Conn, state nethttp.ConnState) {
	if state == nethttp.StateClosed || state == nethttp.StateHijacked {
		k.forget(c)
	}
}

// told notes that the answer of a request in this context ends its connection.
func (k *kept) told(ctx context.Context) {
	if c, ok := ctx.Value(connOfRequest{}).(net.Conn); ok {
		k.forget(c)
	}
}

func (k *kept) forget(c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
}

func (k *kept) none() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns) == 0
}

// drain waits until every client that goes on has been told, but no longer than atMost:
// a client that is silent need not hear of it.
func (k *kept) drain(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for !k.none() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

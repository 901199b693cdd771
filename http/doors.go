package http

import (
	"net"
	nethttp "net/http"
	"sync"
)

// doors let so many connections in at once, and no more: each takes a file descriptor,
// which the log and the views need too. Others wait where they cost this process nothing.
type doors struct {
	net.Listener
	room   room
	closed chan struct{}
	close  func() error
}

// room is taken by the connections that are inside.
type room chan struct{}

func (r room) doors(l net.Listener) *doors {
	d := &doors{Listener: l, room: r, closed: make(chan struct{})}
	d.close = sync.OnceValue(func() error { close(d.closed); return l.Close() })
	return d
}

// changed gives back the place of a connection that has ended. That is asked of the
// server and not of the connection: net/http wants to see the real one.
func (r room) changed(state nethttp.ConnState) {
	if state == nethttp.StateClosed || state == nethttp.StateHijacked {
		<-r
	}
}

// Accept waits until there is room for a connection, and for the connection.
func (d *doors) Accept() (net.Conn, error) {
	select {
	case d.room <- struct{}{}:
	case <-d.closed:
		return nil, net.ErrClosed
	}
	conn, err := d.Listener.Accept()
	if err != nil {
		<-d.room
	}
	return conn, err
}

// Close lets nobody in any more.
func (d *doors) Close() error { return d.close() }

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"truebond/http"
)

// tryAddress refuses an address that is taken, before anything is made. A server listens there only
// when it is ready: who came before would wait.
func (s *Server) tryAddress(context.Context) error {
	l, err := s.listenOutside()
	if err != nil {
		return err
	}
	return l.Close()
}

func (s *Server) listenOutside() (net.Listener, error) {
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.Listen, err)
	}
	return l, nil
}

func (s *Server) listen(context.Context) (err error) {
	if s.outside, err = s.listenOutside(); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return ignoreClosed(s.outside.Close()) })
	if s.socket, err = s.folder.ListenOperator(); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return ignoreClosed(s.socket.Close()) })
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// URL is where this machine reaches the server.
func (s *Server) URL() string { return localURL(s.outside.Addr()) }

// Key is what the log's checkpoints are signed with.
func (s *Server) Key() string { return s.tree.Key() }

// connectionsMax is half of the files that the process may have open, and no more than http
// lets in by itself: the other half is the log's, the stores' and the archive's.
func connectionsMax() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur/2, http.ConnectionsMax))
}

// localURL is how this machine reaches a server that listens on an address.
func localURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1" // Go listens there too when it says [::]
	}
	return "http://" + net.JoinHostPort(host, port)
}

package server

import (
	"net"
	"testing"
)

func TestAServerIsReachedWhereItListens(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80",
		"0.0.0.0:80":   "http://127.0.0.1:80",
		"[::]:80":      "http://127.0.0.1:80",
		"[::1]:80":     "http://[::1]:80",
		"10.1.2.3:80":  "http://10.1.2.3:80",
	} {
		addr, err := net.ResolveTCPAddr("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := localURL(addr); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
}

package http

import (
	nethttp "net/http"
	"net/netip"
	"slices"
	"strings"
)

// addressOf is the address that a request comes from, as far as known proxies vouch for
// it: the last address in X-Forwarded-For that no known proxy has. Whatever stands
// before it may be the client's invention.
func addressOf(req *nethttp.Request, proxies []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return "" // a socket of this machine's has none
	}
	address := peer.Addr().Unmap().WithZone("")
	if !known(proxies, address) {
		return address.String()
	}
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && known(proxies, address); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = hop.Unmap().WithZone("")
	}
	return address.String()
}

func known(proxies []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(proxies, func(proxy netip.Prefix) bool { return proxy.Contains(address) })
}

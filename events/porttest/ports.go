// Package porttest finds addresses for the servers that tests start.
package porttest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Free are so many loopback addresses that nobody listens at. They are all held until the last
// one is found, so that they differ. Their ports are none of those that the system gives to
// whoever asks for any, so that nobody gets one before its server listens.
func Free(count int) ([]string, error) {
	const first, end, triesMax = 20_000, 32_768, 1000
	var found []string
	for range triesMax {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(end-first))))
		if err != nil {
			continue // it is taken
		}
		defer func() { _ = l.Close() }()
		if found = append(found, l.Addr().String()); len(found) == count {
			return found, nil
		}
	}
	return nil, errors.New("there are no free ports")
}

// One is such an address.
func One() (string, error) {
	found, err := Free(1)
	if err != nil {
		return "", err
	}
	return found[0], nil
}

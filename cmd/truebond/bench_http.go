package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"truebond/commands"
)

// overHTTP charges through the API, each caller on a connection of its own. It writes
// its requests itself: a whole HTTP client would take more of the two sides' shared
// processors than the server does.
func (l *ledgerBench) overHTTP(_ context.Context, user func(int64) string) (caller, error) {
	address, err := url.Parse(l.url)
	if err != nil {
		return nil, err
	}
	head := "POST /api/credits/deduct HTTP/1.1\r\nHost: " + address.Host + "\r\nAuthorization: Bearer " + l.key +
		"\r\nContent-Type: application/json\r\n"
	var conn net.Conn // made when it is needed: the server closes one that says nothing
	var answers *bufio.Reader
	var request strings.Builder
	return func(ctx context.Context) (err error) {
		if conn == nil {
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", address.Host); err != nil {
				return err
			}
			answers = bufio.NewReader(conn)
		}
		n := l.n.Add(1)
		body := `{"user_id":"` + user(n) + `","credits":1,"reason":"bench"}`
		request.Reset()
		fmt.Fprintf(&request, "%sIdempotency-Key: bench-%d\r\nContent-Length: %d\r\n\r\n%s", head, n, len(body), body)
		if _, err := io.WriteString(conn, request.String()); err != nil {
			return err
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		said, err := io.ReadAll(answer.Body)
		switch {
		case err != nil:
			return err
		case answer.StatusCode == http.StatusServiceUnavailable:
			return commands.ErrOverloaded
		case answer.StatusCode != http.StatusCreated:
			return fmt.Errorf("credits/deduct answered %d: %s", answer.StatusCode, said)
		}
		return nil
	}, nil
}

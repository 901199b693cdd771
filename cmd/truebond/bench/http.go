package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"truebond/commands/writer"
)

// overHTTP charges through the API, each caller on a connection of its own. It writes
// its requests and reads its answers itself: a whole HTTP client would take more of the two
// sides' shared processors than the server does.
func (l *ledgerBench) overHTTP(_ context.Context, user func(int64) string) (caller, error) {
	address, err := url.Parse(l.url)
	if err != nil {
		return nil, err
	}
	head := "POST /api/credits/deduct HTTP/1.1\r\nHost: " + address.Host + "\r\nAuthorization: Bearer " + l.key +
		"\r\nContent-Type: application/json\r\nIdempotency-Key: bench-"
	var conn net.Conn // made when it is needed: the server closes one that says nothing
	var answers *bufio.Reader
	var request []byte
	return func(ctx context.Context) (err error) {
		if conn == nil {
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", address.Host); err != nil {
				return err
			}
			answers = bufio.NewReader(conn)
		}
		n := l.n.Add(1)
		body := `{"user_id":"` + user(n) + `","credits":1,"reason":"bench"}`
		request = strconv.AppendInt(append(request[:0], head...), n, 10)
		request = strconv.AppendInt(append(request, "\r\nContent-Length: "...), int64(len(body)), 10)
		request = append(append(request, "\r\n\r\n"...), body...)
		if _, err := conn.Write(request); err != nil {
			return err
		}
		status, said, err := readAnswer(answers)
		switch {
		case err != nil:
			return err
		case status == http.StatusServiceUnavailable:
			return writer.ErrOverloaded
		case status != http.StatusCreated:
			return fmt.Errorf("credits/deduct answered %d: %s", status, said)
		}
		return nil
	}, nil
}

// readAnswer reads an answer that fits into the reader and tells its length, as those to one
// charge do. The body is good until the next one is read.
func readAnswer(answers *bufio.Reader) (status int, body []byte, err error) {
	for length := 0; ; {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		switch {
		case status == 0: // the first line: HTTP/1.1 201 Created
			digits, _, _ := bytes.Cut(value, []byte{' '})
			status, err = strconv.Atoi(string(digits))
		case string(name) == "Content-Length:":
			length, err = strconv.Atoi(string(value))
		case len(name) == 0:
			if body, err = answers.Peek(length); err == nil {
				_, err = answers.Discard(length)
			}
			return status, body, err
		}
		if err != nil {
			return 0, nil, fmt.Errorf("%q is no line of an answer: %w", line, err)
		}
	}
}

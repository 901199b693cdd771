package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"truebond/cmd/truebond/datafolder"
)

const (
	answerBytesMax = 1 << 20 // an answer, or one line of a stream, is far shorter
)

// errNoServer says that no server runs on a data folder.
var errNoServer = errors.New("no server is running")

// A target says which server a subcommand means.
type target struct{ data, server, key string }

// A client talks to one server.
type client struct {
	http *http.Client
	base string // URL without a path
	key  string // an API key, or an access token

	idempotencyKey string // of the next command; empty: none
}

// connect finds the server. On this machine that is by the operator's socket, which
// needs no key; errNoServer says that none runs there.
func (t target) connect(ctx context.Context) (*client, error) {
	if t.server != "" {
		return remote(t.server, t.key)
	}
	folder := datafolder.Folder{Path: t.data}
	note, err := folder.ReadNote()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w on the data folder %s", errNoServer, t.data)
	}
	if err != nil {
		return nil, fmt.Errorf("find the server: %w", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", note.Socket)
	}
	conn, err := dial(ctx, "", "")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w on the data folder %s (the last one was killed)", errNoServer, t.data)
	}
	if err != nil {
		return nil, fmt.Errorf("reach the server: %w", err)
	}
	if !folder.IsServed() {
		return nil, errors.Join(conn.Close(), fmt.Errorf("%w on the data folder %s (it is a copy of one that is served)",
			errNoServer, t.data))
	}
	return &client{
		// A server that stops would wait for a connection that is kept.
		http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
		base: "http://operator",
	}, conn.Close()
}

// remote is a client of a server by its URL. A key goes over TLS or loopback only.
func remote(server, key string) (*client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, misused("--server takes a URL such as https://api.example.com")
	}
	if key != "" && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, misused("a key is sent over https only")
	}
	// The API leads nowhere else. Who does may lead from https to where others listen.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &http.Client{CheckRedirect: stay}, base: strings.TrimRight(server, "/"), key: key}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// call sends a request with a JSON body (nil: none) and reads the answer into out
// (nil: it does not matter). A refusal is a *problem.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	answer, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read as far as it matters
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// stream sends a request and calls each for every line of JSON that comes back, until the
// server ends the stream or each returns an error.
func (c *client) stream(
	ctx context.Context, method, path string, in any, each func(line json.RawMessage) error,
) error {
	answer, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read as far as it matters
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, answerBytesMax)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue // a proxy may send some, to keep a quiet stream open
		}
		var broken struct { // a stream's last line, when it could not go on
			Problem *problem `json:"problem"`
		}
		if err := json.Unmarshal(lines.Bytes(), &broken); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		if broken.Problem != nil {
			return broken.Problem
		}
		if err := each(bytes.Clone(lines.Bytes())); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// send gives an answer that is a success, with its body unread.
func (c *client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.idempotencyKey != "" {
		request.Header.Set("Idempotency-Key", c.idempotencyKey)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close() //nolint:errcheck // it was read as far as it matters
	return nil, readProblem(answer)
}

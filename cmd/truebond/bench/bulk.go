package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"truebond/commands/writer"
)

const bulkItems = 1000 // charges a call: as many as it takes

// bulk has callers charge accounts over HTTP, many at a time. What a caller waits is the
// time of a call.
func (l *ledgerBench) bulk(ctx context.Context, callers int) (round, error) {
	ask, err := l.begin(l.anyAccount, l.bulkOverHTTP)(ctx, callers)
	return func(ctx context.Context, length time.Duration) (measured, error) {
		m, err := ask(ctx, length)
		m.events *= bulkItems
		return m, err
	}, err
}

// bulkOverHTTP charges through the API's bulk, on a connection of its own.
func (l *ledgerBench) bulkOverHTTP(_ context.Context, user func(int64) string) (caller, error) {
	address, err := url.Parse(l.url)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	var answers *bufio.Reader
	var body, request bytes.Buffer
	return func(ctx context.Context) (err error) {
		if conn == nil {
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", address.Host); err != nil {
				return err
			}
			answers = bufio.NewReaderSize(conn, 64<<10)
		}
		body.Reset()
		body.WriteString(`{"items":[`)
		for i := range bulkItems {
			n := l.n.Add(1)
			if i > 0 {
				body.WriteByte(',')
			}
			body.WriteString(`{"idempotency_key":"bench-`)
			body.Write(strconv.AppendInt(body.AvailableBuffer(), n, 10))
			body.WriteString(`","user_id":"` + user(n) + `","credits":1,"reason":"bench"}`)
		}
		body.WriteString(`]}`)
		request.Reset()
		fmt.Fprintf(&request, "POST /api/credits/deduct/bulk HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", address.Host, l.key, body.Len())
		request.Write(body.Bytes())
		if _, err := conn.Write(request.Bytes()); err != nil {
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
			return writer.ErrOverloaded
		case answer.StatusCode != http.StatusOK:
			return fmt.Errorf("credits/deduct/bulk answered %d: %s", answer.StatusCode, said)
		}
		return allCharged(said)
	}, nil
}

// allCharged refuses an answer in which a charge was not made.
func allCharged(said []byte) error {
	made := bytes.Count(said, []byte(`{"status":201,`))
	if made == bulkItems {
		return nil
	}
	var answer struct {
		Results []struct {
			Status  int
			Problem json.RawMessage
		}
	}
	if err := json.Unmarshal(said, &answer); err != nil {
		return err
	}
	for _, r := range answer.Results {
		if r.Status != http.StatusCreated {
			return fmt.Errorf("of %d charges %d were made; one was answered %s", bulkItems, made, r.Problem)
		}
	}
	return fmt.Errorf("of %d charges %d were made", bulkItems, made)
}

package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	nethttp "net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"truebond/events"
	"truebond/ledger"
)

const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
	octetsType = "application/octet-stream"
	lineMax    = 30 * time.Second // for one line of a stream to be taken

	keepForEver = "public, max-age=31536000, immutable" // a year is what caches take for it
)

func sendRaw(c echo.Context, r *Route, raw Raw) error {
	body, forEver := raw.Raw()
	header := c.Response().Header()
	if forEver {
		header.Set(echo.HeaderCacheControl, keepForEver)
	}
	if r.contentType == octetsType && !forEver { // hashes do not become smaller
		var err error
		if body, err = packed(c, body); err != nil {
			return err
		}
	}
	header.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(r.status(), r.contentType, body)
}

// packed compresses an answer for who takes that, as C2SP's tlog-tiles asks for.
func packed(c echo.Context, body []byte) ([]byte, error) {
	header := c.Response().Header()
	header.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	if !takesGzip(c.Request().Header.Values(echo.HeaderAcceptEncoding)) {
		return body, nil
	}
	var small bytes.Buffer
	w, err := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	header.Set(echo.HeaderContentEncoding, "gzip")
	return small.Bytes(), nil
}

// takesGzip reads an Accept-Encoding header.
func takesGzip(accepted []string) bool {
	for coding := range strings.SplitSeq(strings.Join(accepted, ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, q, weighted := strings.Cut(weight, "=")
			n, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			return !weighted || err == nil && n > 0
		}
	}
	return false
}

// A receipt is what a command's answer says of its event.
type receipt interface {
	ReceiptOf() (position uint64, replayed bool)
	RememberFor() []events.Actor // beside the caller
}

// noteReceipt puts a command's receipt into the header, and remembers it.
func (s *Server) noteReceipt(ctx context.Context, header nethttp.Header, caller ledger.Caller, out any) error {
	r, ok := out.(receipt)
	if !ok {
		return nil
	}
	position, replayed := r.ReceiptOf()
	if replayed {
		header.Set(headerReplayed, "true")
	}
	if position == 0 {
		return nil
	}
	header.Set(headerPosition, strconv.FormatUint(position, 10))
	actors := append(slices.Clip(r.RememberFor()), caller.Actor)
	names := make([]string, 0, len(actors))
	for _, who := range actors {
		if name := actorName(who); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return s.cfg.Positions.Note(ctx, position, slices.Compact(names)...)
}

// actorName is empty for nobody.
func actorName(a events.Actor) string {
	if a.Kind == "" {
		return ""
	}
	return a.String()
}

// stream sends an answer line by line. What goes wrong on the way is its last line.
func (s *Server) stream(ctx context.Context, c echo.Context, lines Lines) error {
	res := c.Response()
	control := nethttp.NewResponseController(res.Writer)
	res.Header().Set(echo.HeaderContentType, ndjsonType)
	res.WriteHeader(nethttp.StatusOK)
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, nethttp.ErrNotSupported) {
		return fmt.Errorf("let a stream take its time: %w", err)
	}
	write := func(line any) error {
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("write a line: %w", err)
		}
		if err := control.SetWriteDeadline(time.Now().Add(lineMax)); err != nil &&
			!errors.Is(err, nethttp.ErrNotSupported) {
			return fmt.Errorf("bound a line's time: %w", err)
		}
		if _, err := res.Write(append(text, '\n')); err != nil {
			return err
		}
		return control.Flush()
	}
	err := lines.Lines(write)
	if err == nil {
		return nil
	}
	told := *problemOf(because(ctx, err))
	told.RequestID = res.Header().Get(headerRequestID)
	_ = write(map[string]any{"problem": &told})
	return err
}

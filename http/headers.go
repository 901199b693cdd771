package http

import (
	"encoding/hex"
	"fmt"
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

const (
	headerRequestID = "X-Request-Id"
	headerReplayed  = "Idempotent-Replayed"
	requestIDMax    = 64

	// An answer of the API is no page: nothing may be loaded or framed.
	cspAPI = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// requestID is the id under which a request is logged: the one it came with, if that is
// fit for a log, or a new one.
func requestID(req *nethttp.Request) string {
	sent := req.Header.Get(headerRequestID)
	unfit := func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && c != '-' && c != '_' && c != '.'
	}
	if sent != "" && len(sent) <= requestIDMax && !strings.ContainsFunc(sent, unfit) {
		return sent
	}
	id := uuid.Must(uuid.NewV7())
	return "req_" + hex.EncodeToString(id[:])
}

// careful tells a browser to be careful. A page sets its own policy over it.
var careful = nethttp.Header{
	"Strict-Transport-Security":    {"max-age=31536000; includeSubDomains"},
	"Content-Security-Policy":      {cspAPI},
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"no-referrer"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Permissions-Policy":           {"camera=(), geolocation=(), microphone=()"},
	"Cache-Control":                {"no-store"},
	"Vary":                         {"Origin"},
}

var (
	corsAllowed = []string{"Authorization", "Content-Type", headerIdempotencyKey, headerPosition,
		headerRequestID}
	corsExposed = []string{headerPosition, headerReplayed, headerRequestID, "Retry-After", "RateLimit",
		"RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
)

const corsMaxAge = "600" // seconds; a changed front end is not locked out for long

// cors lets the front end's pages, and no others, read answers. It tells whether that
// was all: a browser that asked first.
func (s *Server) cors(header nethttp.Header, req *nethttp.Request) (asked bool) {
	asked = req.Method == nethttp.MethodOptions && req.Header.Get("Access-Control-Request-Method") != ""
	origin := req.Header.Get("Origin")
	if origin == "" || !slices.Contains(s.origins, origin) {
		return asked
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Credentials", "true")
	if asked {
		header.Set("Access-Control-Allow-Methods", strings.Join(s.methods, ", "))
		header.Set("Access-Control-Allow-Headers", strings.Join(corsAllowed, ", "))
		header.Set("Access-Control-Max-Age", corsMaxAge)
		return true
	}
	header.Set("Access-Control-Expose-Headers", strings.Join(corsExposed, ", "))
	return false
}

// originsOf reads the front end's addresses, with commas between several, and gives
// their origins. An address that is none, or any (`*`), is an error.
func originsOf(frontend string) ([]string, error) {
	var origins []string
	for address := range strings.SplitSeq(frontend, ",") {
		address = strings.TrimSpace(address)
		if address == "" {
			continue
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
			strings.Contains(u.Host, "*") {
			return nil, fmt.Errorf("the front end's address must be like https://app.example and is %q", address)
		}
		origins = append(origins, strings.ToLower(u.Scheme+"://"+u.Host))
	}
	return origins, nil
}

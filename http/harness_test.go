package http

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/invopop/validation"
	"github.com/redis/go-redis/v9"

	"truebond/commands"
	"truebond/commands/token"
	"truebond/events"
	"truebond/ledger"
)

// A bench is a server with a table of its own behind a real listener, and what stands
// around it: sessions, API keys, views that are as far as the test says.
type bench struct {
	t        *testing.T
	server   *Server
	base     string
	client   *nethttp.Client
	tokens   *token.Tokens
	sessions *memorySessions
	keys     map[string][]string // key → scopes
	views    *memoryViews
	log      *lockedBuffer
}

type memorySessions struct {
	mu       sync.Mutex
	sessions map[string]memorySession
}

type memorySession struct {
	user  string
	roles []string
}

func (m *memorySessions) Session(_ context.Context, id string) (string, []string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, live := m.sessions[id]
	return s.user, s.roles, live, nil
}

func (m *memorySessions) start(id, user string, roles ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[id] = memorySession{user: user, roles: roles}
}

func (m *memorySessions) end(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, id)
}

type memoryKeys map[string][]string

func (m memoryKeys) HashAPIKey(key string) string { return key }

func (m memoryKeys) APIKey(_ context.Context, key string) (string, []string, bool, error) {
	scopes, ok := m[key]
	return "key_" + strings.TrimPrefix(key, commands.APIKeyPrefix), scopes, ok, nil
}

// memoryViews are views that stand at a position until somebody moves them.
type memoryViews struct {
	mu     sync.Mutex
	at     uint64
	end    uint64 // of the log
	moved  chan struct{}
	waited []uint64
}

func (v *memoryViews) stored() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

func (v *memoryViews) move(at uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.at, v.end = at, max(v.end, at)
	close(v.moved)
	v.moved = make(chan struct{})
}

// grow makes the log longer; the views stay where they are.
func (v *memoryViews) grow(end uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.end = end
}

func (v *memoryViews) waits() []uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.waited)
}

func (v *memoryViews) wait(ctx context.Context, position uint64) error {
	v.mu.Lock()
	v.waited = append(v.waited, position)
	if position > v.end {
		v.mu.Unlock()
		return ledger.Refuse("beyond_log", "The log does not have a position %d.", position)
	}
	for v.at < position {
		moved := v.moved
		v.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
		v.mu.Lock()
	}
	v.mu.Unlock()
	return nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serving starts a server with this table; a test may change its settings first.
func serving(t *testing.T, routes []Route, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, tokens: token.New("a secret", time.Now), client: &nethttp.Client{},
		sessions: &memorySessions{sessions: map[string]memorySession{}}, keys: map[string][]string{},
		views: &memoryViews{moved: make(chan struct{})}, log: &lockedBuffer{}}
	cfg := Config{DrainFor: time.Millisecond, Routes: routes,
		Tokens: b.tokens, Sessions: b.sessions, APIKeys: memoryKeys(b.keys),
		Log:  slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Wait: b.views.wait, Stored: b.views.stored,
		HashRequest: func(route string, body []byte) []byte {
			sum := sha256.Sum256([]byte(route + "\n" + string(body)))
			return sum[:]
		}}
	for _, c := range change {
		c(&cfg)
	}
	if cfg.Redis == nil {
		cfg.Redis = redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = cfg.Redis.Close() })
	}
	server, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.server = server
	b.base = "http://" + b.listen(server.Serve, listening(t, "tcp", "127.0.0.1:0"))
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

func listening(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (b *bench) listen(serve func(net.Listener) error, l net.Listener) string {
	ended := make(chan error, 1)
	go func() { ended <- serve(l) }()
	b.t.Cleanup(func() {
		b.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = b.server.Shutdown(ctx)
		if err := <-ended; err != nil {
			b.t.Errorf("the listener ended with %v", err)
		}
	})
	return l.Addr().String()
}

// as gives a user with these roles an access token.
func (b *bench) as(user string, roles ...string) string {
	b.t.Helper()
	session := "ses_" + user
	b.sessions.start(session, user, roles...)
	return b.bearer(user, session)
}

func (b *bench) bearer(user, session string) string {
	b.t.Helper()
	access, _, err := b.tokens.Mint(user, session, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return "Bearer " + access
}

// An answer is what came back.
type answer struct {
	status int
	header nethttp.Header
	body   []byte
	last   bool // on its connection
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(a.body, &members); err != nil {
		t.Fatalf("not a JSON object: %q", a.body)
	}
	return members
}

// code is the code of the problem that came back; empty for anything else.
func (a answer) code(t *testing.T) string {
	t.Helper()
	if a.header.Get("Content-Type") != problemType {
		return ""
	}
	code, _ := a.json(t)["code"].(string)
	return code
}

// pointers are the fields that the problem names.
func (a answer) pointers(t *testing.T) string {
	t.Helper()
	var named []string
	errors, _ := a.json(t)["errors"].([]any)
	for _, e := range errors {
		pointer, _ := e.(map[string]any)["pointer"].(string)
		named = append(named, pointer)
	}
	return strings.Join(named, " ")
}

// send sends a request; the headers are pairs of name and value. A body is JSON unless
// they say otherwise.
func (b *bench) send(method, path, body string, headers ...string) answer {
	b.t.Helper()
	return b.sendTo(b.client, b.base, method, path, body, headers...)
}

func (b *bench) sendTo(client *nethttp.Client, base, method, path, body string, headers ...string) answer {
	b.t.Helper()
	req, err := nethttp.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", jsonType)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	if replaced := req.Header.Values("Content-Type"); len(replaced) > 1 {
		req.Header.Set("Content-Type", replaced[1])
	}
	res, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: read, last: res.Close}
}

func (a answer) wants(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.code(t) != code {
		t.Fatalf("answered %d %q, and not %d %q: %s", a.status, a.code(t), status, code, a.body)
	}
}

// What the tests' own routes take and give.

type nothing struct{}

type note struct {
	To   string `json:"to"`
	Text string `json:"text"`
	Size *int   `json:"size"`
}

func (n note) Validate() error {
	return validation.ValidateStruct(&n,
		validation.Field(&n.To, validation.Required),
		validation.Field(&n.Text, validation.Required, validation.Length(1, 10)),
		validation.Field(&n.Size, validation.Min(1)),
	)
}

type written struct {
	position uint64
	replayed bool
	actor    events.Actor
	Request  []byte `json:"request"`
	Note     note   `json:"note"`
}

func (w written) ReceiptOf() (uint64, bool)   { return w.position, w.replayed }
func (w written) RememberFor() []events.Actor { return []events.Actor{w.actor} }
func whoAsks(ctx context.Context, _ nothing) (map[string]any, error) {
	c := ledger.CallerOf(ctx)
	return map[string]any{"actor": c.Actor.String(), "session": c.Session, "address": c.Address,
		"request_id": c.RequestID, "key": c.IdempotencyKey, "request": c.Request}, nil
}

func writeNote(ctx context.Context, n note) (written, error) {
	return written{position: 7, Request: ledger.CallerOf(ctx).Request, Note: n}, nil
}

func refusing(err error) func(context.Context, nothing) (nothing, error) {
	return func(context.Context, nothing) (nothing, error) { return nothing{}, err }
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"truebond/commands/stripe"
	"truebond/events"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/projectiontest"
)

// asProgram in the environment makes the test binary the program itself.
const asProgram = "TRUEBOND_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if settings := os.Getenv(asNATS); settings != "" {
		runNATS(settings)
		return
	}
	os.Exit(m.Run())
}

// A child is a server in a process of its own, which can be killed.
type child struct {
	cmd *exec.Cmd
	url string
}

// spawn starts `truebond serve` on a data folder, and waits until it serves.
func spawn(t *testing.T, data string, more ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "error"}, more...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not come up: %v", err)
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // until the process ends
	return &child{cmd, strings.TrimSpace(strings.TrimPrefix(line, "TrueBond serves on "))}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // it was killed
}

// A load asks for things until its server dies, and remembers what was promised.
type load struct {
	t      *testing.T
	token  string // of who sends messages
	key    string // of the app that charges
	users  []string
	secret string

	mu    sync.Mutex
	acked map[string]promise // by the event's key
	asked int
}

// A promise is what an answer said.
type promise struct {
	position uint64
	left     string // available afterwards, where the answer says
}

// run asks from several callers until all of them have lost the server.
func (l *load) run(url string) *sync.WaitGroup {
	var all sync.WaitGroup
	for caller := range 16 {
		all.Add(1)
		go func() {
			defer all.Done()
			client := &nethttp.Client{Transport: &nethttp.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for l.one(client, url, caller) {
			}
		}()
	}
	return &all
}

// one sends a charge, a message or a webhook. It is false when the server is gone.
func (l *load) one(client *nethttp.Client, url string, caller int) bool {
	l.mu.Lock()
	l.asked++
	n := l.asked
	l.mu.Unlock()
	user := l.users[rand.IntN(len(l.users))] //nolint:gosec // any user will do
	id := fmt.Sprintf("load-%d", n)
	path, body, header, key := "/api/credits/deduct", fmt.Sprintf(`{"user_id":%q,"credits":1,"reason":"load"}`, user),
		[]string{"Authorization", "Bearer " + l.key, "Idempotency-Key", id}, ""
	switch caller % 4 {
	case 1:
		path, body = "/api/v2/messages/send", fmt.Sprintf(`{"to":%q,"body":"hello"}`, l.users[1])
		header[1] = "Bearer " + l.token
	case 2:
		event, err := stripe.PaidEvent("evt_"+id, succeeded, "pi_none", 100, "INR", time.Now())
		if err != nil {
			l.t.Error(err)
		}
		path, body, key = "/api/webhooks/stripe", string(event), "stripe/evt_"+id
		header = []string{"Stripe-Signature", stripe.Sign(event, l.secret, time.Now())}
	case 3:
		path, body = "/api/credits/deduct/bulk", l.bulk(id)
	}
	request, err := nethttp.NewRequest(nethttp.MethodPost, url+path, strings.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close() //nolint:errcheck // it is read to its end
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return false
	}
	if answer.StatusCode/100 == 2 && strings.HasSuffix(path, "/bulk") {
		l.rememberAll(id, said)
	} else if answer.StatusCode/100 == 2 {
		l.remember(id, key, answer, said)
	}
	return true
}

// bulk asks for a charge of each user, all in one call.
func (l *load) bulk(id string) string {
	var items []string
	for i, user := range l.users {
		items = append(items, fmt.Sprintf(`{"idempotency_key":"%s-%d","user_id":%q,"credits":1,"reason":"load"}`, id, i, user))
	}
	return `{"items":[` + strings.Join(items, ",") + `]}`
}

func (l *load) rememberAll(id string, said []byte) {
	var all struct {
		Results []struct {
			Status    int
			Position  uint64
			Available int64
		}
	}
	if err := json.Unmarshal(said, &all); err != nil || len(all.Results) != len(l.users) {
		l.t.Errorf("read %q: %v", said, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range all.Results {
		if r.Status == nethttp.StatusCreated {
			l.acked[fmt.Sprintf("%s-%d", id, i)] = promise{r.Position, strconv.FormatInt(r.Available, 10)}
		}
	}
}

func (l *load) remember(id, key string, answer *nethttp.Response, said []byte) {
	position, err := strconv.ParseUint(answer.Header.Get("Ledger-Position"), 10, 64)
	if err != nil {
		l.t.Errorf("an answer has no position: %v", answer.Header)
	}
	var members struct {
		Available *int64 `json:"available"`
	}
	if err := json.Unmarshal(said, &members); err != nil {
		l.t.Errorf("read %q: %v", said, err)
	}
	p := promise{position: position}
	if members.Available != nil {
		p.left = strconv.FormatInt(*members.Available, 10)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if key == "" {
		key = id // the end of it; who asked stands before
	}
	l.acked[key] = p
}

func TestNothingAcknowledgedIsLostWhenTheServerIsKilledTwentyTimes(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	data := t.TempDir()
	l := prepareLoad(t, data)
	kept := []string{"verify", "--data", data}
	for round := range rounds {
		server := spawn(t, data)
		callers := l.run(server.url)
		time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond) //nolint:gosec // any moment will do
		checkpoint := filepath.Join(t.TempDir(), strconv.Itoa(round))
		write(t, checkpoint, (&world{t: t, url: server.url}).ask("GET", "/api/audit/checkpoint", "", nil).is(200).body)
		kept = append(kept, "--checkpoint", checkpoint)
		server.kill(t)
		callers.Wait()
	}
	if len(l.acked) < 10*rounds {
		t.Fatalf("only %d commands were acknowledged; that shows nothing", len(l.acked))
	}
	if code, said := runs(t, kept...); code != exitDone {
		t.Errorf("the log is not what was signed before the kills:\n%s", said)
	}
	checkPromises(t, data, l)
	t.Logf("%d kills, %d asked, %d acknowledged, none lost", rounds, l.asked, len(l.acked))
}

// prepareLoad makes people with credits, on a server that then stops in good order.
func prepareLoad(t *testing.T, data string) *load {
	t.Helper()
	l := &load{t: t, acked: map[string]promise{}}
	t.Run("prepare", func(t *testing.T) {
		w := serveFrom(t, options{data: data, listen: "127.0.0.1:0"})
		l.secret = w.secret
		l.key = w.operate("/api/operator/api-keys", map[string]any{"name": "load", "scopes": []string{"credits:deduct"}}).
			is(201).get("key")
		for range 4 {
			p := w.signsUp()
			for range 5 {
				intent := p.post("/api/payments/intent/create", map[string]any{"package": "xlarge"}).is(201).get("intent_id")
				p.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
			}
			l.users = append(l.users, p.id)
			if l.token == "" {
				l.token = p.token
			}
		}
	})
	return l
}

// checkPromises holds the log against what was acknowledged, and the views against it.
func checkPromises(t *testing.T, data string, l *load) {
	t.Helper()
	s := openParts(t, data)
	last, err := s.log.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	history := readAll(t, s, last)
	at := map[string]events.Event{}
	account := map[string]ledger.Account{}
	for _, e := range history {
		key := e.Key[strings.LastIndexByte(e.Key, '/')+1:]
		if e.Actor.Kind == events.ActorStripe {
			key = e.Key
		}
		if _, twice := at[e.Key]; twice {
			t.Errorf("the key %s stands twice in the log", e.Key)
		}
		at[e.Key], at[key] = e, e
		for _, user := range ledger.Accounts.Keys(e) {
			account[user], _ = ledger.Accounts.Evolve(account[user], user, e)
			if left := account[user].Available(e.Time); left < 0 {
				t.Errorf("at %d %s has %d credits", e.Position, user, left)
			}
		}
	}
	for key, promised := range l.acked {
		e, ok := at[key]
		if !ok || e.Position != promised.position {
			t.Errorf("%s was acknowledged at %d and is in the log at %d", key, promised.position, e.Position)
			continue
		}
		if change, ok := e.Data.(events.BalanceChange); ok && promised.left != "" {
			if _, left := change.Leaves(); promised.left != strconv.FormatInt(left, 10) {
				t.Errorf("%s left %d credits, the answer said %s", key, left, promised.left)
			}
		}
	}
	differences, err := projectiontest.Differences(t.Context(), s.store, projections.Catalogue(), history)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

func readAll(t *testing.T, s *server, last uint64) []events.Event {
	t.Helper()
	var all []events.Event
	for uint64(len(all)) < last {
		records, err := s.log.ReadRange(t.Context(), uint64(len(all)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			all = append(all, r.Event)
		}
	}
	return all
}

// openParts opens a data folder without serving from it, and lets the views catch up.
func openParts(t *testing.T, data string) *server {
	t.Helper()
	r, err := startServer(t.Context(), options{data: data, listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatalf("the server does not start after the kills: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := r.projector.Wait(t.Context(), r.writer.Last()); err != nil {
		t.Fatal(err)
	}
	return r
}

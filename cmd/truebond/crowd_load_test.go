package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	nethttp "net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A clusterLoad charges people through any server, each with a key that is used until the
// charge is acknowledged, and reads at another server what is left.
type clusterLoad struct {
	t       *testing.T
	stage   *stage
	key     string
	people  []*person
	stop    chan struct{}
	callers sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]promise
	asked   int
	lastAck time.Time
	longest time.Duration // between two acknowledgements
	stale   int
	notes   lines // of what was not acknowledged, and of gaps
}

const (
	crowdPeople = 6
	gapNoted    = time.Second // and more is told in the timeline
)

func startLoad(t *testing.T, s *stage) *clusterLoad {
	t.Helper()
	l := &clusterLoad{t: t, stage: s, stop: make(chan struct{}), acked: map[string]promise{}, lastAck: time.Now()}
	s.load = l
	leader := s.leader(s.nodes...)
	l.key = leader.operate("/api/operator/api-keys", map[string]any{"name": "load", "scopes": []string{"credits:deduct"}}).
		is(201).get("key")
	w := leader.world()
	for range crowdPeople {
		p := w.signsUp()
		for range 6 {
			intent := p.post("/api/payments/intent/create", map[string]any{"package": "xlarge"}).is(201).get("intent_id")
			p.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
		}
		l.people = append(l.people, p)
	}
	l.lastAck = time.Now()
	for caller := range crowdPeople {
		l.callers.Go(func() { l.run(caller) })
	}
	return l
}

// run charges one person again and again.
func (l *clusterLoad) run(caller int) {
	client := &nethttp.Client{Transport: &nethttp.Transport{}, Timeout: 3 * time.Second}
	defer client.CloseIdleConnections()
	lastRead := time.Now()
	for n := 0; ; n++ {
		id := fmt.Sprintf("load-%d-%d", caller, n)
		l.mu.Lock()
		l.asked++
		l.mu.Unlock()
		var position uint64
		for position == 0 {
			select {
			case <-l.stop:
				return
			default:
				position = l.charge(client, caller, id)
			}
		}
		if time.Since(lastRead) > 600*time.Millisecond { // a person may read 120 times a minute
			lastRead = time.Now()
			l.read(client, caller, position)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l *clusterLoad) any() string { return l.stage.nodes[rand.IntN(len(l.stage.nodes))].url() } //nolint:gosec // any will do

func (l *clusterLoad) send(client *nethttp.Client, request *nethttp.Request) (*nethttp.Response, []byte) {
	answer, err := client.Do(request)
	if err != nil {
		time.Sleep(20 * time.Millisecond)
		return nil, nil
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, nil
	}
	return answer, said
}

// charge is the position at which a charge was acknowledged; 0 if it was not.
func (l *clusterLoad) charge(client *nethttp.Client, caller int, id string) uint64 {
	body := fmt.Sprintf(`{"user_id":%q,"credits":1,"reason":"load"}`, l.people[caller].id)
	to, asked := l.any(), time.Now()
	request, err := nethttp.NewRequest("POST", to+"/api/credits/deduct", strings.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+l.key)
	request.Header.Set("Idempotency-Key", id)
	answer, said := l.send(client, request)
	if answer == nil || answer.StatusCode != 201 {
		l.notes.add(fmt.Sprintf("%s at %s: no acknowledgement in %v: %s", id, to, time.Since(asked).Round(time.Millisecond), said))
	}
	if answer == nil {
		return 0
	}
	switch {
	case answer.StatusCode == 201:
	case answer.StatusCode == 503, answer.StatusCode == 409 && strings.Contains(string(said), "key_busy"):
		time.Sleep(50 * time.Millisecond)
		return 0
	default:
		l.t.Errorf("a charge was answered %d: %s", answer.StatusCode, said)
		return 0
	}
	position, err := strconv.ParseUint(answer.Header.Get("Ledger-Position"), 10, 64)
	if err != nil {
		l.t.Errorf("an answer has no position: %v", answer.Header)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[id] = promise{position: position}
	now := time.Now()
	gap := now.Sub(l.lastAck)
	l.longest, l.lastAck = max(l.longest, gap), now
	if gap > gapNoted {
		l.notes.add(fmt.Sprintf("%s at %s ends a gap of %.1f s", id, to, gap.Seconds()))
	}
	return position
}

// read demands that any server shows a person what was charged just now, without being
// told where to look.
func (l *clusterLoad) read(client *nethttp.Client, caller int, position uint64) {
	request, err := nethttp.NewRequest("GET", l.any()+"/api/credits/balance", nil)
	if err != nil {
		l.t.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+l.people[caller].token)
	answer, said := l.send(client, request)
	if answer == nil || answer.StatusCode == 503 {
		return
	}
	a := answerOf(l.t, answer, said)
	shown, _ := strconv.ParseUint(a.get("position"), 10, 64)
	if answer.StatusCode != 200 || shown < position {
		l.t.Errorf("a read of what was written at %d was answered %d: %s", position, answer.StatusCode, said)
		l.mu.Lock()
		l.stale++
		l.mu.Unlock()
	}
}

// goesOn waits until commands are acknowledged, each person's, that were asked from now on.
func (l *clusterLoad) goesOn(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	want := len(l.acked) + 3*crowdPeople
	l.mu.Unlock()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		got := len(l.acked)
		l.mu.Unlock()
		if got >= want {
			return
		}
	}
	l.stage.keepTimeline(t, "a minute without an acknowledgement", time.Minute)
	for _, n := range l.stage.nodes {
		t.Logf("%s: %s", n.url(), n.role())
		if *clusterTimeline == "" {
			t.Log(n.logs.String())
		}
	}
	t.Fatal("no command is acknowledged for a minute")
}

// measured is how many were acknowledged and the longest time without one, since it was
// asked last.
func (l *clusterLoad) measured() (acked int, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest = max(l.longest, time.Since(l.lastAck))
	l.longest = 0
	return len(l.acked), longest
}

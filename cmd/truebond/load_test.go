package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
)

// A load asks for things until it has had enough or its server dies, and remembers what
// was promised. Charges and messages, purchases and their payments, notes of Stripe's; and
// now and then what was answered before.
type load struct {
	t      testing.TB
	key    string // of the app that charges
	people []*person
	secret string // of the webhooks

	mu                  sync.Mutex
	enough              bool
	darkFrom, lightFrom time.Time // see darkens
	asked               int
	acked               map[string]promise    // by the event's key
	keys                []string              // of acked
	next                []request             // what nobody knows the outcome of, and what follows from an answer
	odd                 []string              // answers that nobody should get
	looked              map[*person]time.Time // when somebody looked at their balance
	all                 stream                // of all answers that acknowledged what no other had
	ofPeople            stream                // of those to people, who have a session: no webhooks, no app's charges
	notes               notes                 // of what was not acknowledged, and of gaps
}

func newLoad(t testing.TB) *load {
	return &load{t: t, acked: map[string]promise{}, looked: map[*person]time.Time{}}
}

// A stream is of acknowledgements, which follow each other after some time.
type stream struct {
	count   int
	last    time.Time
	longest time.Duration // between two, as far as it has ended
}

// add is the time since the last one.
func (s *stream) add(now time.Time) time.Duration {
	gap := now.Sub(s.last)
	s.count, s.last, s.longest = s.count+1, now, max(s.longest, gap)
	return gap
}

func (s *stream) gap() time.Duration { return max(s.longest, time.Since(s.last)) }

// A promise is what an answer said.
type promise struct {
	request  request
	position uint64
	left     string // available afterwards, where the answer says
}

const (
	replayOneIn  = 50
	oddMax       = 20                     // of those that are kept
	pauseRefused = 20 * time.Millisecond  // before the next request, for who was sent away
	lookEvery    = 600 * time.Millisecond // a person may look at a balance 120 times a minute
	gapNoted     = time.Second            // and more is told in the timeline
	awaitMax     = time.Minute            // for something to be acknowledged
)

// A drive is how callers ask.
type drive struct {
	at        func() string // URL of a server to ask next
	elsewhere bool          // a server without an answer is not the last one
	look      bool          // at what was charged just now, through any server
	patience  time.Duration // with an answer
	pause     time.Duration // before a caller's next request
}

// run asks one server from several callers until they have had enough or have lost it.
func (l *load) run(url string, callers int) *sync.WaitGroup {
	const patience = 35 * time.Second // longer than a server works on an answer
	return l.drive(drive{at: func() string { return url }, patience: patience}, callers)
}

func (l *load) drive(d drive, callers int) *sync.WaitGroup {
	l.mu.Lock()
	l.enough, l.lightFrom = false, time.Now()
	l.all.last, l.ofPeople.last = time.Now(), time.Now()
	l.mu.Unlock()
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			client := &nethttp.Client{Transport: &nethttp.Transport{}, Timeout: d.patience}
			defer client.CloseIdleConnections()
			for !l.hasEnough() && (l.one(client, d, caller) || d.elsewhere) {
				time.Sleep(d.pause)
			}
		})
	}
	return &all
}

func (l *load) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enough = true
}

// darkens lets no answer count from now on, until there are callers again: also then none to what
// was asked before. An fsync that is under way when a disk loses its power, or finds an error in itself,
// may return with success (a loop of write and fsync alone shows that in one of some ten or hundred).
func (l *load) darkens() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.darkFrom, l.lightFrom = time.Now(), time.Time{}
}

// isDark tells whether an answer that came just now does not count.
func (l *load) isDark(asked time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.darkFrom.IsZero() && (l.lightFrom.IsZero() || asked.Before(l.lightFrom))
}

func (l *load) hasEnough() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enough
}

// awaitMore waits until some more is acknowledged. It is false when nothing is for long.
func (l *load) awaitMore(more int) bool { return l.await(&l.all, more) }

func (l *load) await(s *stream, more int) bool {
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return s.count
	}
	for begun, want := time.Now(), count()+more; count() < want; {
		if time.Since(begun) > awaitMax {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// measured is how many answers have acknowledged something new, and the longest time
// without one since that was forgotten.
func (l *load) measured() (answered int, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.count, l.all.gap()
}

// peopleWaited is the longest time without an acknowledgement of what people ask for.
func (l *load) peopleWaited() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ofPeople.gap()
}

func (l *load) forgetLongest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.longest, l.ofPeople.longest = 0, 0
}

// rememberAll notes what was promised of the charges of a call.
func (l *load) rememberAll(r request, answer *nethttp.Response, said []byte) {
	var all struct {
		Results []struct {
			Status    int
			Position  uint64
			Available int64
		}
	}
	if err := json.Unmarshal(said, &all); err != nil || len(all.Results) != len(l.people) {
		l.notice("read %q: %v", said, err)
		return
	}
	var promises []promise
	for i, result := range all.Results {
		if result.Status != nethttp.StatusCreated {
			continue
		}
		one := r
		one.id = fmt.Sprintf("%s-%d", r.id, i)
		promises = append(promises, promise{one, result.Position, strconv.FormatInt(result.Available, 10)})
	}
	l.keep(answer, promises...)
}

// one asks for one thing. It is false when there is no answer that counts.
func (l *load) one(client *nethttp.Client, d drive, caller int) bool {
	r := l.pick(caller)
	at, asked := d.at(), time.Now()
	answer, said, err := r.send(client, at, l.secret)
	if err != nil || answer.StatusCode/100 != 2 {
		took := time.Since(asked).Round(time.Millisecond)
		l.notes.add("%s at %s: no acknowledgement in %v: %s %v", r.id, at, took, said, err)
	}
	busy := err == nil && answer.StatusCode == nethttp.StatusConflict && bytes.Contains(said, []byte(`"key_busy"`))
	switch {
	case err != nil, l.isDark(asked):
		l.askAgain(r)
		time.Sleep(pauseRefused)
		return false
	case answer.StatusCode/100 == 2 && r.path == bulkPath:
		l.rememberAll(r, answer, said)
	case answer.StatusCode/100 == 2:
		position := l.remember(r, answer, said)
		if d.look && r.who != nil && l.mayLook(r.who) {
			l.lookAt(client, d.at(), r.who, position)
		}
	case answer.StatusCode == nethttp.StatusServiceUnavailable, busy:
		l.askAgain(r)
		time.Sleep(pauseRefused)
	case answer.StatusCode == nethttp.StatusTooManyRequests, answer.StatusCode == nethttp.StatusPaymentRequired:
		if l.known(r) {
			l.notice("%s was acknowledged, and is answered with %d now: %s", r.id, answer.StatusCode, said)
		}
	default:
		l.notice("%s was answered with %d: %s", r.path, answer.StatusCode, said)
	}
	return true
}

func (l *load) mayLook(p *person) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked[p]) < lookEvery {
		return false
	}
	l.looked[p] = time.Now()
	return true
}

// lookAt demands that a server shows a person what was charged just now, without being told
// how far to read.
func (l *load) lookAt(client *nethttp.Client, url string, p *person, position uint64) {
	request, err := nethttp.NewRequest(nethttp.MethodGet, url+"/api/credits/balance", nil)
	if err != nil {
		l.notice("%v", err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := client.Do(request)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode == nethttp.StatusServiceUnavailable {
		return
	}
	var shown struct{ Position uint64 }
	if err := json.Unmarshal(said, &shown); err != nil || answer.StatusCode != nethttp.StatusOK || shown.Position < position {
		l.notice("a stale read: what was written at %d was answered with %d: %s", position, answer.StatusCode, said)
	}
}

func (l *load) askAgain(r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = append(l.next, r)
}

// known tells whether a charge was acknowledged. A message may be refused by its limit
// before its key is looked at.
func (l *load) known(r request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.acked[r.key()]
	return known && r.bearer == l.key
}

func (l *load) notice(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oddly(format, args...)
}

// oddly is notice for who holds the lock.
func (l *load) oddly(format string, args ...any) {
	if len(l.odd) < oddMax {
		l.odd = append(l.odd, fmt.Sprintf(format, args...))
	}
}

// remember notes what was promised, and gives its position.
func (l *load) remember(r request, answer *nethttp.Response, said []byte) (position uint64) {
	position, err := strconv.ParseUint(answer.Header.Get("Ledger-Position"), 10, 64)
	if err != nil {
		l.notice("the answer to %s has no position: %v", r.path, answer.Header)
	}
	var members struct {
		Available *int64 `json:"available"`
		Intent    string `json:"intent_id"`
		Amount    int64  `json:"amount"`
	}
	if err := json.Unmarshal(said, &members); err != nil {
		l.notice("read %q: %v", said, err)
	}
	p := promise{request: r, position: position}
	if members.Available != nil {
		p.left = strconv.FormatInt(*members.Available, 10)
	}
	l.keep(answer, p)
	if members.Intent != "" {
		l.askAgain(paymentOf(l.t, "evt_"+r.id, members.Intent, members.Amount))
	}
	return position
}

// keep keeps what one answer has promised, and holds it against what was promised before.
func (l *load) keep(answer *nethttp.Response, promises ...promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	anew := false
	for _, p := range promises {
		key := p.request.key()
		before, known := l.acked[key]
		if !known {
			l.acked[key], l.keys, anew = p, append(l.keys, key), true
		} else if before.position != p.position || before.left != p.left {
			l.oddly("%s was promised as %+v, and then as %+v", key, before, p)
		}
	}
	if anew {
		now, first := time.Now(), promises[0].request
		if first.bearer != "" && first.bearer != l.key && l.ofPeople.add(now) > gapNoted {
			l.notes.add("%s ends the wait of people", first.id)
		}
		if gap := l.all.add(now); gap > gapNoted {
			l.notes.add("%s at %s ends a gap of %.1f s", first.id, answer.Request.URL.Host, gap.Seconds())
		}
	}
}

// prepareLoad makes people with credits, on a server that then stops in good order.
func prepareLoad(t *testing.T, data string) *load {
	t.Helper()
	l := newLoad(t)
	t.Run("prepare", func(t *testing.T) {
		l.prepare(serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"}), 4)
	})
	return l
}

// prepare makes an app that charges, and people with credits. What the load buys is far more.
func (l *load) prepare(w *world, people int) {
	l.secret = w.secret
	l.key = w.operate("/api/operator/api-keys", map[string]any{"name": "load", "scopes": []string{"credits:deduct"}}).
		is(201).get("key")
	for range people {
		p := w.signsUp()
		intent := p.post("/api/payments/intent/create", map[string]any{"package": "xlarge"}).is(201).get("intent_id")
		p.post("/api/payments/simulate/payment", map[string]any{"intent_id": intent}).is(200)
		l.people = append(l.people, p)
	}
}

package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// The long form, see docs/reliability.md.
var (
	rounds = flag.Int("rounds", 0, "rounds of the kinds of faults, of some a part of it; 0: the few of the normal tests")
	faults = flag.String("faults", "", "kinds of faults whose names contain this; empty: all")
)

// A kind is a kind of fault.
type kind struct {
	name  string
	short int // rounds in the normal tests
	part  int // in the long form, one of so many
	site  func(t *testing.T) *site
	// strike does it to a server under load. When the server is to bear it, strike undoes
	// it too, and sees that the load goes on.
	strike func(*trial)
	fate   fate
}

// fate is what a fault may come to.
type fate int

const (
	ends  fate = iota // the server ends, and the next start goes on from the log
	bears             // the server goes on
	loses             // acknowledged events are lost: it shows that the others can fail
)

func kinds() []kind {
	return []kind{
		{"power cut, one node", 2, 1, onOneNode, cutPower, ends},
		{"power cut, three NATS nodes", 1, 2, onNodes(3, "always"), cutPower, ends},
		{"control: power cut, NATS as it syncs by default", 1, 4, onNodes(1, ""), cutPower, loses},
		{"server killed", 3, 1, onFolders, killServer, ends},
		{"NATS node killed", 0, 4, onThreeNodes, killFollower, bears},
		{"NATS leader killed", 1, 4, onThreeNodes, killLeader, bears},
		{"NATS leader's disk full", 0, 4, onNodes(3, "always"), fillNodesDisk, bears},
		{"NATS leader's disk turns read-only", 0, 4, onNodes(3, "always"), turnNodeReadOnly, bears},
		{"mongod killed", 1, 4, withMongo, killMongo, bears},
		{"mongod frozen", 0, 4, withMongo, freezeMongo, bears},
		{"mongod slow", 0, 4, withSlowMongo, slowMongo, bears},
		{"Redis killed", 1, 4, withRedis, killRedis, bears},
		{"disk full", 1, 4, onOneNode, fillDisk, ends},
		{"disk turns read-only", 0, 4, onOneNode, turnReadOnly, ends},
		{"SQLite's disk turns read-only", 1, 4, withStoreApart, turnStoreReadOnly, bears},
	}
}

// A tally is what the rounds of one kind came to.
type tally struct {
	kind
	rounds  int
	batches int // atomic batches in the log
	inThem  int // events in them
	events  verdict
	resumed time.Duration // the longest that nothing was acknowledged after a fault
}

func TestNothingAcknowledgedIsLost(t *testing.T) {
	var (
		mu   sync.Mutex
		rows []tally
	)
	for _, k := range kinds() {
		if !strings.Contains(k.name, *faults) {
			continue
		}
		times := k.short
		if *rounds > 0 {
			times = max(1, *rounds/k.part)
		}
		if times == 0 {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			if *rounds == 0 {
				t.Parallel() // they mostly wait, and nobody wants their figures
			}
			row := k.run(t, times)
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, row)
		})
	}
	if *rounds > 0 {
		fmt.Print(tableOf(rows))
	}
}

// run puts a site through the fault again and again.
func (k kind) run(t *testing.T, times int) tally {
	s := k.site(t)
	l := newLoad(t)
	result := tally{kind: k}
	for n := range times {
		if k.fate == loses && n > 0 { // it has lost everything
			s, l = k.site(t), newLoad(t)
		}
		r := &trial{kind: k, site: s, load: l, t: t}
		v := r.run()
		result.rounds++
		result.resumed = max(result.resumed, r.resumed)
		if k.fate == loses {
			result.events.acknowledged += v.acknowledged
			result.events.lost = append(result.events.lost, v.lost...)
			continue
		}
		for _, problem := range v.all() {
			t.Errorf("round %d: %s", n+1, problem)
		}
		result.events = v
		if t.Failed() {
			break
		}
	}
	result.batches, result.inThem = s.batches()
	if result.events.acknowledged < 10*times {
		t.Errorf("only %d commands were acknowledged; that shows nothing", result.events.acknowledged)
	}
	if k.fate == loses && len(result.events.lost) == 0 {
		t.Error("nothing was lost where something had to be: these rounds cannot fail")
	}
	t.Logf("%d rounds, %d calls, %d commands acknowledged (of those in bulk, each one), %d lost, %d doubled; %d batches of %d events",
		result.rounds, l.asked, result.events.acknowledged, len(result.events.lost), len(result.events.doubled),
		result.batches, result.inThem)
	return result
}

// A trial is one fault under load, and the look at what it has left.
type trial struct {
	kind
	*site
	load    *load
	t       *testing.T
	callers *sync.WaitGroup
	resumed time.Duration
}

// people who are charged in a load.
const loadPeople = 4

// run gives what the log came to. The first round of a site begins with its very first
// start, and what is promised then must hold as well.
func (r *trial) run() verdict {
	r.t.Helper()
	r.start()
	if len(r.load.people) == 0 {
		r.load.prepare(visit(r.t, r.data), loadPeople)
	}
	// A lone publish each, a few of them, and batches.
	callers := []int{1, 8, 64}[rand.IntN(3)]
	if r.fate == bears {
		callers = max(callers, 16) // some of them wait for what has gone
	}
	r.callers = r.load.run(r.server.url, callers)
	r.sleep(300, 1500)
	r.awaitMore() // on a busy machine, too, there is something to lose
	r.strike(r)
	r.load.stop()
	r.killAll()
	r.callers.Wait()
	r.restartDisks()
	if r.fate == loses {
		return r.checkLog(r.load)
	}
	return r.check(r.load)
}

// sleep lets time pass, at random.
func (r *trial) sleep(leastMillis, mostMillis int) {
	time.Sleep(time.Duration(leastMillis+rand.IntN(mostMillis-leastMillis)) * time.Millisecond)
}

// goesOn waits until the server acknowledges again, and some more.
func (r *trial) goesOn() {
	r.t.Helper()
	begun := time.Now()
	r.awaitMore()
	r.resumed = max(r.resumed, time.Since(begun))
}

// awaitMore waits until some more is acknowledged.
func (r *trial) awaitMore() {
	r.t.Helper()
	const more = 10
	if !r.load.awaitMore(more) {
		r.t.Fatalf("nothing is acknowledged any more; the server says\n%s", r.server.hasSaid())
	}
}

// tableOf is the rows as a table of docs/reliability.md.
func tableOf(rows []tally) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| kind\t| rounds\t| acknowledged\t| lost\t| doubled\t| wrong\t| batches (events in them)\t| went on after\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, r := range rows {
		resumed := ""
		if r.resumed > 0 {
			resumed = fmt.Sprintf("%.1f s", r.resumed.Seconds())
		}
		fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d (%d)\t| %s\t|\n", r.name, r.rounds, r.events.acknowledged,
			len(r.events.lost), len(r.events.doubled), len(r.events.wrong), r.batches, r.inThem, resumed)
	}
	_ = w.Flush() // into memory
	return b.String()
}

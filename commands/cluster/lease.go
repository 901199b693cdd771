// Package cluster lets several processes serve one log: a lease says which of them
// decides, and a courier carries requests from the others to it.
//
// Nothing that must hold rests on the lease. The log's expected sequence fences a writer
// that believes in a lease it has lost, and the stored positions fence a projector. The
// lease keeps two from being at work at once, which would be slow.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucket = "TRUEBOND"
	key    = "leader"

	// lifetime is how long the holder is sure of its lease after it asked for it. With
	// what others wait beyond it, it bounds how long nobody decides after a kill.
	lifetime = 3 * time.Second
	// waited is how long an entry must have stood unchanged before another takes it. It
	// is more than lifetime by far more than two machines' clocks differ in speed.
	waited = lifetime + 500*time.Millisecond

	renewEvery = time.Second
	renewMax   = time.Second            // for one renewal to be answered
	lookEvery  = 250 * time.Millisecond // by those who do not hold it
	behind     = time.Second            // others may take it before who misses something
	retryAfter = 100 * time.Millisecond // a renewal that failed
	leaveMax   = 2 * time.Second        // to give the lease up
)

// ErrLost says that the lease is not held for certain any more.
var ErrLost = errors.New("the lease is lost")

// A Member is what a process says of itself while it holds the lease.
type Member struct {
	ID     string            `json:"id"`     // of the process, no two alike
	URL    string            `json:"url"`    // where people reach it
	Ready  bool              `json:"ready"`  // it takes what others pass on
	Alone  bool              `json:"alone"`  // nobody may serve beside it, since …
	Lacks  []string          `json:"lacks"`  // … it has not what a cluster shares
	Misses []string          `json:"misses"` // what all share, and does not answer it just now
	Mark   string            `json:"mark"`   // that it has left in Redis; empty: none, or it is of an older version
	Task   string            `json:"task"`   // what it does in place of serving; empty: it serves
	Asked  int64             `json:"asked"`  // when it asked for this entry: milliseconds of its own, since it began
	Wall   int64             `json:"wall"`   // the same by its wall clock, Unix milliseconds; 0: it does not say
	Prints map[string]string `json:"prints"` // of what all members must have alike
}

// A Sight is the lease as it was last seen.
type Sight struct {
	Holder Member
	Mine   bool          // held by this process, for certain
	Alive  bool          // the holder renewed it not too long ago
	Age    time.Duration // since it was last seen to change
	Ahead  time.Duration // how far the wall clock here is ahead of the holder's, some tenths of a second more at most
}

// A Lease is held by one process at a time, as long as clocks run at about one speed. It
// does not matter what they show: the holder counts from before it asked, others from
// when they saw the entry change, each by its own monotonic clock.
//
// An entry may be seen long after it was asked for: one that the servers had when they lost
// their leader is there when they have another. So others count from an earlier entry of
// the holder's, which they saw in time, and add what its clock says was between the two.
type Lease struct {
	began  time.Time
	entry  entry
	logger *slog.Logger
	accept func(holder Member) error
	poke   chan struct{} // renew now

	mu       sync.Mutex
	me       Member
	holder   Member
	revision uint64    // of the entry that was last seen or written
	since    time.Time // the holder asked for it then, or before
	seen     int       // how many revisions of this holder's
	ahead    time.Duration
	until    time.Time // the lease is ours for certain; zero: it is not
	changed  chan struct{}
}

// OpenLease finds the lease, or makes it. accept is asked about another living holder,
// again with each change; its error ends Run.
func OpenLease(ctx context.Context, conn *nats.Conn, replicas int, me Member, accept func(Member) error,
	logger *slog.Logger) (*Lease, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("open the lease: %w", err)
	}
	l := &Lease{began: time.Now(), entry: entry{conn, bucket, key}, me: me, accept: accept, logger: logger,
		poke: make(chan struct{}, 1), changed: make(chan struct{})}
	for {
		_, err = js.KeyValue(ctx, bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: bucket, Description: "who decides", History: 1, Replicas: replicas,
			})
		}
		if err == nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open the lease: %w", err)
		case <-time.After(retryAfter): // another one makes it just now, or the servers choose a leader
		}
	}
}

// Run takes the lease whenever it can be had, and lets lead run as long as it is held.
// lead's context ends with ErrLost when the lease is not certain any more, and with ctx's
// own cause when that ends; the lease is kept until lead has returned then, and given up.
// Run ends with ctx, with lead's error, or with accept's.
func (l *Lease) Run(ctx context.Context, lead func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		if err := l.take(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := l.hold(ctx, lead); err != nil {
			return err
		}
		select { // another may have what this one lacks
		case <-ctx.Done():
		case <-time.After(renewEvery):
		}
	}
	return nil
}

// take waits until the lease is ours.
func (l *Lease) take(ctx context.Context) error {
	for {
		// What was seen last is enough to try: if another one has it, it cannot be written.
		if l.free() && l.write(ctx, renewMax, l.mine()) == nil {
			return nil
		}
		if err := l.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// look reads the entry. A server that does not answer is no error: nothing was seen.
func (l *Lease) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewMax)
	defer cancel()
	value, revision, err := l.entry.read(ctx)
	if err != nil {
		if !errors.Is(err, errNoEntry) {
			l.logger.DebugContext(ctx, "the lease cannot be read", "error", err)
		}
		return nil
	}
	var holder Member
	if err := json.Unmarshal(value, &holder); err != nil {
		return fmt.Errorf("read the lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision <= l.revision {
		return nil // no news, or a replica's that lags behind
	}
	l.see(holder, revision)
	if l.seen > 1 && holder.ID != "" && holder.ID != l.me.ID {
		return l.accept(holder)
	}
	return nil
}

// see notes an entry. Hold mu.
func (l *Lease) see(holder Member, revision uint64) {
	since := time.Now()
	if holder.ID != l.holder.ID {
		l.seen = 0
	} else if later := time.Duration(holder.Asked-l.holder.Asked) * time.Millisecond; later > 0 {
		if asked := l.since.Add(later); asked.Before(since) {
			since = asked
		}
	}
	l.seen++
	l.holder, l.revision, l.since, l.ahead = holder, revision, since, 0
	if holder.Wall != 0 {
		wall := time.Now().Round(0).Add(-time.Since(since)) // since's own would not know that the clock was set
		l.ahead = wall.Sub(time.UnixMilli(holder.Wall))
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// free tells whether the entry may be replaced. Who misses something would be asked to leave it again,
// or not even come to lead.
func (l *Lease) free() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wait time.Duration
	if l.holder.ID != "" && l.holder.ID != l.me.ID {
		wait = waited
	}
	if len(l.me.Misses) > 0 {
		wait += behind
	}
	return time.Since(l.since) >= wait
}

// write replaces the entry that was last seen, and no other. If that is ours, the lease
// is for lifetime from now on, which is before it was asked for.
func (l *Lease) write(ctx context.Context, most time.Duration, entry Member) error {
	l.mu.Lock()
	revision := l.revision
	l.mu.Unlock()
	asked := time.Now()
	entry.Asked, entry.Wall = asked.Sub(l.began).Milliseconds(), asked.UnixMilli()
	text, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	written, err := l.entry.write(ctx, text, revision)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
	if entry.ID == l.me.ID {
		l.until = asked.Add(lifetime)
	}
	l.see(entry, written)
	return nil
}

// hold lets lead run as long as the lease is ours.
func (l *Lease) hold(ctx context.Context, lead func(ctx context.Context) error) error {
	term, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	ended := make(chan error, 1)
	go func() { ended <- lead(term) }()
	next, stop := time.NewTimer(renewEvery), ctx.Done()
	defer next.Stop()
	for {
		lapse := time.NewTimer(time.Until(l.certainUntil()))
		select {
		case err := <-ended:
			lapse.Stop()
			l.giveUp(context.WithoutCancel(ctx))
			return err
		case <-stop:
			stop = nil
			end(context.Cause(ctx))
		case <-l.poke:
			next.Reset(l.renew(ctx))
		case <-next.C:
			next.Reset(l.renew(ctx))
		case <-lapse.C:
		}
		lapse.Stop()
		if !l.Sure() {
			l.drop()
			end(ErrLost)
			return <-ended
		}
	}
}

func (l *Lease) certainUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// renew asks for the lease again, and tells when to ask the next time.
func (l *Lease) renew(ctx context.Context) time.Duration {
	ctx = context.WithoutCancel(ctx)
	left := time.Until(l.certainUntil())
	if left <= 0 {
		return renewEvery
	}
	err := l.write(ctx, min(renewMax, left), l.mine())
	if err == nil {
		return renewEvery
	}
	l.logger.WarnContext(ctx, "the lease could not be renewed", "left", time.Until(l.certainUntil()), "error", err)
	// It may be renewed all the same, or be another's: only the entry can tell.
	if left = time.Until(l.certainUntil()); left > 0 {
		bounded, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		_ = l.look(bounded) // whoever holds it now was fit to take it
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.holder.ID != l.me.ID {
			l.until = time.Time{}
		}
	}
	return retryAfter
}

func (l *Lease) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
	close(l.changed)
	l.changed = make(chan struct{})
}

// giveUp lets another take the lease at once.
func (l *Lease) giveUp(ctx context.Context) {
	if !l.Sure() {
		return
	}
	if err := l.write(ctx, leaveMax, Member{}); err != nil {
		l.logger.WarnContext(ctx, "the lease could not be given up; it will lapse", "error", err)
	}
	l.drop()
}

// Sure tells whether the lease is held for certain at this moment.
func (l *Lease) Sure() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
}

func (l *Lease) mine() Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.me
}

// SetReady says, to all, whether this process takes what they pass on while it leads.
func (l *Lease) SetReady(ready bool) { l.say(func(me *Member) { me.Ready = ready }) }

// SetMisses says, to all, what this process does not reach while it leads.
func (l *Lease) SetMisses(names []string) { l.say(func(me *Member) { me.Misses = names }) }

// SetMark says, to all, which mark this process has left in Redis while it leads; empty: none.
func (l *Lease) SetMark(mark string) { l.say(func(me *Member) { me.Mark = mark }) }

func (l *Lease) say(change func(me *Member)) {
	l.mu.Lock()
	change(&l.me)
	l.mu.Unlock()
	select {
	case l.poke <- struct{}{}:
	default: // it is to be renewed already
	}
}

// Sight is the lease as it was last seen.
func (l *Lease) Sight() Sight {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := time.Since(l.since)
	return Sight{
		Holder: l.holder, Mine: time.Now().Before(l.until), Age: age, Ahead: l.ahead,
		// One that was seen once may be what a dead one has left.
		Alive: l.holder.ID != "" && l.seen > 1 && age < waited,
	}
}

// Changed is closed when something else is seen than now.
func (l *Lease) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

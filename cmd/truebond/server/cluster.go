package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"truebond/commands/cluster"
	"truebond/commands/redis"
	"truebond/ledger"
	"truebond/projections"
)

// membership is what a server whose log is outside has beside one that is alone: the lease,
// and if all that a cluster shares is outside too, what it shares.
type membership struct {
	me        cluster.Member
	lacking   []string // what a cluster's member must have and this server has not
	conn      *nats.Conn
	lease     *cluster.Lease
	courier   *cluster.Courier
	shared    *sharedPositions // nil: nobody may serve beside this one
	redisSeen redisSight
	leads     atomic.Bool   // it takes commands
	terms     atomic.Int64  // how often it has begun to
	led       chan struct{} // has room for one: that has changed
}

const (
	leaderMax   = 4 * time.Second       // how long a command waits for somebody to lead; a lease lapses in less
	leaderAway  = 10 * time.Second      // how long a server that sees nobody lead is still ready
	lookForHold = 50 * time.Millisecond // between two looks at who holds the lease
	clocksApart = 10 * time.Second      // how far a ready follower's may be off; at 30 s it is not believed
)

// lacks are the settings that a cluster's members must have and this server has not.
// Call it before secrets are made up.
func (s *Server) lacks() []string {
	var lacking []string
	for name, value := range map[string]string{
		"MONGO_URL": s.settings.MongoURL, "REDIS_URL": s.settings.RedisURL, "JWT_SECRET": s.settings.JWTSecret,
		"STRIPE_WEBHOOK_SECRET": s.settings.StripeWebhookSecret,
	} {
		if value == "" {
			lacking = append(lacking, name)
		}
	}
	if s.TestClock {
		lacking = append(lacking, "a clock of the wall's (--test-clock stands in one server alone)")
	}
	slices.Sort(lacking)
	return lacking
}

// prints tell whether members have the same, and not what it is.
func (s *Server) prints() map[string]string {
	fingerprint := func(secret, of string) string {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte("truebond/print/" + of))
		return hex.EncodeToString(h.Sum(nil)[:8])
	}
	return map[string]string{
		"JWT_SECRET":            fingerprint(s.settings.JWTSecret, "jwt"),
		"STRIPE_WEBHOOK_SECRET": fingerprint(s.settings.JWTSecret, "webhook/"+s.settings.StripeWebhookSecret),
		"STRIPE_SECRET_KEY":     fingerprint(s.settings.JWTSecret, "stripe/"+s.settings.StripeSecretKey),
		"MONGO_URL":             s.vault.Hash(ledger.PurposeCluster, "vault"), // the vault is where the views are
	}
}

// connect connects to the cluster, if the log is outside, and refuses one whose log is not
// whole.
func (s *Server) connect(ctx context.Context) (err error) {
	if s.NATS == "" {
		return nil
	}
	if s.conn, err = cluster.Connect(ctx, s.NATS, s.Logger); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { s.conn.Close(); return nil })
	return s.checkRestoredCluster(ctx)
}

// join joins the cluster, if the log is outside. Nothing is led yet.
func (s *Server) join(context.Context) (err error) {
	s.projector = newShown(s.Log, nil, s.sure)
	if s.NATS == "" {
		return nil
	}
	alone := len(s.lacking) > 0
	s.me = cluster.Member{ID: nuid.Next(), Alone: alone, Lacks: s.lacking, Prints: s.prints()}
	if alone {
		return nil
	}
	s.projector = newShown(s.Log, projections.NewFollower(s.Store, projections.Catalogue(), s.Logger), s.sure)
	s.shared = &sharedPositions{redis: redis.NewPositions(s.redis), shown: s.projector, log: s.Log,
		mark: func() string { return marked(s.lease.Sight()) }, showIn: showIn}
	s.courier, err = cluster.NewCourier(s.conn, s.settings.JWTSecret, s.Logger)
	return err
}

// openLease finds the lease. The address that others are told is known by then.
func (s *Server) openLease(ctx context.Context) (err error) {
	if s.NATS == "" {
		return nil
	}
	s.me.URL = s.URL()
	s.lease, err = cluster.OpenLease(ctx, s.conn, s.Replicas, s.me, s.accept, s.Logger)
	return err
}

// accept refuses to serve beside a living leader that it does not go with.
func (s *Server) accept(holder cluster.Member) error {
	switch {
	case holder.Task != "":
		return fmt.Errorf("%s is under way: no server can serve meanwhile", holder.Task)
	case holder.Alone:
		return fmt.Errorf("the server at %s serves this log alone, since it lacks %s: "+
			"no other can serve beside it", holder.URL, strings.Join(holder.Lacks, ", "))
	case s.me.Alone:
		return fmt.Errorf("the server at %s serves this log already, and this one cannot serve beside it: it lacks %s",
			holder.URL, strings.Join(s.me.Lacks, ", "))
	}
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(s.me.Prints)) {
		if theirs, known := holder.Prints[name]; known && theirs != s.me.Prints[name] {
			differ = append(differ, name)
		}
	}
	if len(differ) > 0 {
		return fmt.Errorf("the server at %s serves this log with another %s: all servers of a cluster must have the same",
			holder.URL, strings.Join(differ, " and "))
	}
	return nil
}

// sure tells whether this process may decide.
func (s *Server) sure() bool { return s.lease == nil || s.lease.Sure() }

// leading says, here and to others, whether this process takes commands.
func (s *Server) leading(yes bool) {
	if s.leads.Store(yes); yes {
		s.terms.Add(1)
	}
	select {
	case s.led <- struct{}{}:
	default: // nobody waits for the first time
	}
	if s.lease != nil {
		s.lease.SetReady(yes)
	}
}

// serveOthers takes what other members pass on, until the term's works stop.
func (t *term) serveOthers() error {
	listening := make(chan error, 1)
	t.work.start("courier", func(ctx context.Context) error {
		// What is under way is answered while its writer still works, unless the term is cut off.
		stop, err := t.courier.Listen(t.work.ctx, t.me.ID, t.serveOther)
		listening <- err
		if err != nil {
			return err
		}
		<-ctx.Done()
		stop()
		return nil
	})
	return <-listening
}

// Leads tells whether this process decides.
func (s *Server) Leads() bool { return s.leads.Load() && s.sure() }

// Pass has the leader serve a request. While nobody leads, it waits for a bounded time.
func (s *Server) Pass(ctx context.Context, request []byte, part func([]byte) error) (here bool, err error) {
	end := time.Now().Add(leaderMax)
	for {
		changed := s.lease.Changed()
		if s.Leads() {
			return true, nil
		}
		sight := s.lease.Sight()
		if sight.Alive && sight.Holder.Ready && sight.Holder.ID != s.me.ID {
			err := s.ask(ctx, sight.Holder.ID, request, part)
			if !errors.Is(err, cluster.ErrNotDelivered) {
				return false, passed(err)
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return false, ledger.Refuse("no_leader", "There is no server that decides, just now. Nothing was done.")
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-changed:
		case <-time.After(min(left, lookForHold)):
		}
	}
}

// ask asks one member, for as long as that leads: from one that was killed no answer comes.
func (s *Server) ask(ctx context.Context, member string, request []byte, part func([]byte) error) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for asking.Err() == nil {
			changed := s.lease.Changed()
			if sight := s.lease.Sight(); !sight.Alive || sight.Holder.ID != member {
				cancel(cluster.ErrLost)
				return
			}
			select {
			case <-asking.Done():
			case <-changed:
			case <-time.After(10 * lookForHold):
			}
		}
	}()
	return s.courier.Ask(asking, member, request, part)
}

// passed is what a client is told of a request that could not be passed on.
func passed(err error) error {
	switch {
	case errors.Is(err, cluster.ErrTooLarge):
		return ledger.Refuse("body_too_large", "The body is larger than the servers carry.")
	case errors.Is(err, cluster.ErrClocksDiffer):
		return ledger.Refuse("no_leader", "The clock of this server differs from that of the server that decides. "+
			"Nothing was done.")
	case errors.Is(err, cluster.ErrNoAnswer):
		return fmt.Errorf("%w: %w", ledger.Refuse("no_answer", "The server that decides has not answered. What was "+
			"asked may be done all the same: the same request with the same Idempotency-Key tells."), err)
	}
	return err
}

// certainLast is the log's end, as whoever leads now knows it. The log's servers may tell an
// older one: those that are, or were until just now, cut off from the others.
func (s *Server) certainLast(ctx context.Context) (last uint64, err error) {
	for {
		sight := s.lease.Sight()
		switch {
		case s.Leads():
			return s.writer.Last(), nil
		case sight.Alive && sight.Holder.Ready && sight.Holder.ID != s.me.ID:
			err := s.ask(ctx, sight.Holder.ID, []byte(askLast), func(answer []byte) (err error) {
				last, err = strconv.ParseUint(string(answer), 10, 64)
				return err
			})
			if err == nil {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(lookForHold):
		}
	}
}

// askLast asks the leader for the log's end. Requests that are passed on begin otherwise than it and askYield.
const askLast = "last?"

// serveOther answers what another member asks of the leader.
func (t *term) serveOther(ctx context.Context, request []byte, send func([]byte) error) (last []byte, err error) {
	switch string(request) {
	case askLast:
	case askYield:
		t.yield(ctx)
		return nil, nil
	default:
		return t.http.ServeForwarded(ctx, request, send)
	}
	position := t.writer.Last()
	if !t.Leads() {
		return nil, cluster.ErrLost
	}
	return strconv.AppendUint(nil, position, 10), nil
}

// checkLeader tells who leads. A server that has not seen anybody lead for a while is cut
// off, and not ready.
func (s *Server) checkLeader(context.Context) (string, error) {
	sight := s.lease.Sight()
	switch {
	case s.Leads():
		return "this server leads", nil
	case sight.Mine:
		return "this server begins to lead", nil
	case sight.Alive && sight.Ahead.Abs() > clocksApart:
		off := "ahead of"
		if sight.Ahead < 0 {
			off = "behind"
		}
		detail := fmt.Sprintf("follows %s, but the clock here is %s %s that one's", sight.Holder.URL,
			sight.Ahead.Abs().Round(time.Second), off)
		return detail, errors.New(detail)
	case sight.Alive:
		return "follows " + sight.Holder.URL, nil
	case sight.Age < leaderAway:
		return "nobody leads, for a moment", nil
	}
	detail := fmt.Sprintf("nobody was seen to lead for %s", sight.Age.Round(time.Second))
	return detail, errors.New(detail)
}

// awaitRole returns when this process leads, or follows one that does.
func (s *Server) awaitRole(ctx context.Context) error {
	for {
		if s.Leads() {
			return nil
		}
		var changed <-chan struct{}
		if s.lease != nil {
			changed = s.lease.Changed()
			sight := s.lease.Sight()
			if sight.Alive && sight.Holder.Ready && sight.Holder.ID != s.me.ID && s.accept(sight.Holder) == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.led:
		case <-changed:
		case <-time.After(lookForHold):
		}
	}
}

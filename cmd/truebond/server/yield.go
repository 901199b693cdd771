package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A leader that cannot reach what all share, while another server can, leaves the lease to it.
const (
	reachEvery = time.Second // between two looks; what was missed by two in a row is missed
	reachMax   = time.Second // for an answer
	yieldMax   = time.Second // for what is under way; some of it may wait for what is missed
)

// askYield asks the leader to leave the lease to who asks, who misses nothing.
const askYield = "yield?"

// watchReach says in the lease what this process misses, and asks a leader that misses something to
// yield. While nobody reaches it, nobody asks.
func (s *Server) watchReach(ctx context.Context) error {
	var before, said []string
	for sleep(ctx, reachEvery) {
		now := s.misses(ctx)
		lasting := slices.DeleteFunc(slices.Clone(now), func(name string) bool { return !slices.Contains(before, name) })
		if !slices.Equal(lasting, said) {
			s.Logger.WarnContext(ctx, "what this server cannot reach has changed", "now", lasting, "before", said)
			s.lease.SetMisses(lasting)
			said = lasting
		}
		leader := s.lease.Sight()
		if len(now) == 0 && leader.Alive && leader.Holder.ID != s.me.ID && len(leader.Holder.Misses) > 0 {
			s.askToYield(ctx, leader.Holder.ID)
		}
		before = now
	}
	return nil
}

func (s *Server) askToYield(ctx context.Context, leader string) {
	ctx, cancel := context.WithTimeout(ctx, 2*reachMax)
	defer cancel()
	err := s.ask(ctx, leader, []byte(askYield), func([]byte) error { return nil })
	if err != nil {
		s.Logger.DebugContext(ctx, "the leader has not answered whether it yields", "error", err)
	}
}

// yield ends the term, if this process misses something at this moment, and somebody still asks.
func (t *term) yield(ctx context.Context) {
	missing := t.misses(ctx)
	if len(missing) == 0 || ctx.Err() != nil {
		return
	}
	select {
	case t.failures <- fmt.Errorf("%w: %s", errMisses, strings.Join(missing, ", ")):
	default: // it ends already
	}
}

var errMisses = errors.New("another server reaches what this one does not")

// misses are those of the shared things that do not answer here.
func (s *Server) misses(ctx context.Context) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, reachMax)
	defer cancel()
	var redis, store error
	var both sync.WaitGroup
	both.Go(func() { redis = s.redis.Ping(ctx).Err() })
	both.Go(func() { store = s.Store.Ping(ctx) })
	both.Wait()
	if store != nil {
		names = append(names, "MongoDB")
	}
	if redis != nil {
		names = append(names, "Redis")
	}
	return names
}

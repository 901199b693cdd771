package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"truebond/commands/cluster"
)

// otherMax is how long a server whose Redis was the leader's is ready with another mark in it: Redis may
// have forgotten, or the lease be seen late.
const otherMax = 10 * time.Second

// marked is the mark that whoever leads has left in Redis; empty if nobody says so.
func marked(sight cluster.Sight) string {
	if !sight.Alive {
		return ""
	}
	return sight.Holder.Mark
}

// A redisSight is what was seen of Redis here, and whether it is another one than the leader's.
type redisSight struct {
	mu    sync.Mutex
	alike time.Time // when it was last not another; zero: it has never been seen to be the leader's
}

// isOther looks at a mark that was found in Redis while the lease was seen so. A Redis that has never been the
// leader's is another one at once; one that was, when that lasts.
func (r *redisSight) isOther(sight cluster.Sight, mark string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	theirs := marked(sight)
	switch {
	case theirs == "" || sight.Mine: // nobody can tell
		if !r.alike.IsZero() {
			r.alike = time.Now()
		}
		return false
	case mark == theirs:
		r.alike = time.Now()
		return false
	}
	return time.Since(r.alike) > otherMax
}

// otherRedis says so while Redis here is not the leader's: limits and ended sessions would be others. Who
// cannot ask does not know.
func (s *Server) otherRedis(ctx context.Context) error {
	if s.shared == nil {
		return nil
	}
	mark, err := s.shared.redis.Mark(ctx)
	sight := s.lease.Sight()
	if err != nil || !s.redisSeen.isOther(sight, mark) {
		return nil
	}
	return fmt.Errorf("REDIS_URL leads to another Redis here than at %s, which leads: all servers of a cluster must "+
		"have the same", sight.Holder.URL)
}

// checkRedis tells whether Redis answers, and is the one that all share.
func (s *Server) checkRedis(ctx context.Context) (string, error) {
	if err := s.redis.Ping(ctx).Err(); err != nil {
		return "", err
	}
	if err := s.otherRedis(ctx); err != nil {
		return err.Error(), err
	}
	return "", nil
}

// watchRedis tells the operator of a server that is not ready for its Redis, who may not look at /readyz.
func (s *Server) watchRedis(ctx context.Context) error {
	said := false
	for sleep(ctx, reachEvery) {
		other := s.otherRedis(ctx)
		if other != nil && !said {
			s.Logger.WarnContext(ctx, "this server is not ready", "error", other)
		}
		said = other != nil
	}
	return nil
}

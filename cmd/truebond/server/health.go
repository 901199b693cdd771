package server

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"truebond/cmd/truebond/wording"
	"truebond/commands/writer"
	"truebond/http"
)

// checks are what the server needs to be of use.
func (s *Server) checks() []http.Check {
	checks := []http.Check{
		{Name: "log", Check: s.checkLog},
		{Name: "store", Check: whole(s.Store.Ping)},
		{Name: "vault", Check: whole(s.keys.Ping)},
		{Name: "redis", Check: s.checkRedis},
		{Name: "views", Check: s.checkViews},
	}
	if s.NATS != "" {
		checks = append(checks, http.Check{Name: "leader", Check: s.checkLeader})
	}
	if s.archiver != nil {
		checks = append(checks, http.Check{Name: "archive", Check: s.archiver.check})
	}
	return checks
}

// checkViews tells how far the views are behind; so far that the writer sends people
// away is not ready.
func (s *Server) checkViews(ctx context.Context) (string, error) {
	behind, err := s.projector.Behind(ctx)
	if err != nil {
		return "", err
	}
	detail := wording.Events(behind) + " behind"
	if behind >= writer.DefaultLimits.Lag {
		return detail, fmt.Errorf("the views are %s", detail)
	}
	return detail, nil
}

// last is the position of the last event, as far as is known here without asking. A server that does
// not lead hears of it from its tree, which follows the log, and from what the log has told it.
func (s *Server) last() uint64 {
	last := max(s.writer.Last(), s.projector.Position(), s.Log.Known())
	if signed := s.tree.Signed(); signed != nil {
		last = max(last, signed.Size)
	}
	return last
}

// Behind is how many events the views lack, as far as is known here.
func (s *Server) Behind() uint64 {
	stored := s.projector.Position()
	last := s.last()
	return last - min(stored, last)
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "truebond", Name: name, Help: help}, value)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (s *Server) metrics() []prometheus.Collector {
	all := append(append(s.comparisons.collectors(), s.scrubs.collectors()...),
		gauge("log_position", "Position of the last event that is in the log for certain.",
			func() float64 { return float64(s.last()) }),
		gauge("views_position", "Position that all views are folded to.",
			func() float64 { return float64(s.projector.Position()) }),
		gauge("views_behind_events", "Events that the views lack.",
			func() float64 { return float64(s.Behind()) }),
		gauge("checkpoint_position", "Position that the last signed checkpoint covers; 0 while the tree is built.",
			func() float64 {
				if signed := s.tree.Signed(); signed != nil {
					return float64(signed.Size)
				}
				return 0
			}),
		gauge("clock_ahead_seconds", "How much the ledger's clock is ahead of the machine's.",
			func() float64 { return s.clock.Ahead().Seconds() }),
		gauge("commands_under_way", "Commands that wait for their outcome.",
			func() float64 { return float64(s.writer.UnderWay()) }),
		gauge("timers_refused", "Timers that are due and could not be done when they were tried last.",
			func() float64 { return float64(s.timers.Refused()) }),
		gauge("leads", "1 while this server decides commands and stores views.", func() float64 { return oneIf(s.Leads()) }),
		gauge("writer_warm", "1 once new commands need not ask the store whether their key was used.",
			func() float64 { return oneIf(s.writer.Warm()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "truebond", Name: "terms_total",
			Help: "How often this server has begun to lead."}, func() float64 { return float64(s.terms.Load()) }),
		gauge("lease_age_seconds", "Since the lease was last seen to be renewed; 0 where there is none.", func() float64 {
			if s.lease == nil {
				return 0
			}
			return s.lease.Sight().Age.Seconds()
		}),
	)
	if s.archiver != nil {
		all = append(all, s.archiver.metrics()...)
	}
	if embedded, ok := s.Store.(interface {
		Cached(ctx context.Context) (bytes int64, err error)
	}); ok {
		all = append(all, gauge("views_cached_bytes", "What this process has of the views' file in its memory.",
			func() float64 {
				ctx, cancel := context.WithTimeout(context.Background(), cachedTimeMax)
				defer cancel()
				bytes, err := embedded.Cached(ctx)
				if err != nil {
					return math.NaN()
				}
				return float64(bytes)
			}))
	}
	return all
}

const cachedTimeMax = time.Second // a transaction that has the connection is over by then

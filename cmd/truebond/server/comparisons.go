package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"truebond/http"
	"truebond/ledger"
	"truebond/projections"
)

// comparisons are those that a server makes: one at a time, and the last one of each
// view is a metric.
type comparisons struct {
	place               chan struct{} // has room for one
	drift, position, at *prometheus.GaugeVec
	failures            prometheus.Counter
}

func newComparisons() *comparisons {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "truebond", Name: name, Help: help}, []string{"view"})
	}
	c := &comparisons{
		place: make(chan struct{}, 1),
		drift: gauge("view_drift_documents",
			"Documents that are not what follows from the log up to view_compared_position."),
		position: gauge("view_compared_position", "Position of the log up to which it was compared last; 0: never."),
		at:       gauge("view_compared_timestamp_seconds", "When it was compared last, in Unix time; 0: never."),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "truebond", Name: "view_compare_failures_total",
			Help: "Comparisons that came to nothing."}),
	}
	for _, view := range viewNames() { // an alert on what is not there never fires
		c.drift.WithLabelValues(view)
		c.position.WithLabelValues(view)
		c.at.WithLabelValues(view)
	}
	return c
}

func (c *comparisons) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.drift, c.position, c.at, c.failures}
}

// compare compares views, one after the other, and notes what it came to.
func (s *Server) compare(ctx context.Context, names []string, show func(http.CompareLine)) error {
	return ofViews(ctx, s.comparing(func() error {
		if err := s.checkBeforeComparing(ctx); err != nil {
			return err
		}
		return s.compareEach(ctx, names, show)
	}))
}

// comparing does it unless somebody else compares: that is ErrBuilding, too.
func (s *Server) comparing(do func() error) error {
	select {
	case s.comparisons.place <- struct{}{}:
		defer func() { <-s.comparisons.place }()
		return do()
	default:
		return fmt.Errorf("compare views: %w", projections.ErrBuilding)
	}
}

// checkBeforeComparing makes sure that what is compared is read from what is whole.
func (s *Server) checkBeforeComparing(ctx context.Context) error {
	err := s.checkFiles(ctx)
	if err != nil && ctx.Err() == nil {
		s.comparisons.failures.Inc()
	}
	return err
}

// compareEach needs the place that comparing has. ErrBuilding is no failure.
func (s *Server) compareEach(ctx context.Context, names []string, show func(http.CompareLine)) error {
	for _, name := range names {
		var total uint64
		result, err := s.projector.Compare(ctx, name, func(done, all uint64) {
			total = all
			show(http.CompareLine{View: name, Done: min(done, all-1), Total: all})
		})
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, projections.ErrBuilding) {
				s.comparisons.failures.Inc()
				err = cmp.Or(s.checkFiles(ctx), err) // it may have met what was damaged since they were looked at
			}
			return err
		}
		s.note(ctx, result)
		line := http.CompareLine{View: name, Done: max(total, result.Position), Total: max(total, result.Position),
			Result: &http.Compared{Position: result.Position, Documents: result.Documents, Drift: result.Drift}}
		for _, d := range result.Differences {
			line.Result.Differences = append(line.Result.Differences,
				http.Difference{ID: d.ID, What: d.What, Stored: d.Stored, Built: d.Built})
		}
		show(line)
	}
	return nil
}

// ofViews tells an operator why views were not built or compared: somebody else is at it, or a store
// fails for now.
func ofViews(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, projections.ErrBuilding):
		return ledger.Refuse("view_building", "One of these views is being built or compared already.").About("views")
	case stays(err), errors.As(err, new(*ledger.Refusal)):
		return err
	}
	return ledger.Unavailable(ctx, err)
}

// note makes a comparison known.
func (s *Server) note(ctx context.Context, result projections.Comparison) {
	s.comparisons.drift.WithLabelValues(result.View).Set(float64(result.Drift))
	s.comparisons.position.WithLabelValues(result.View).Set(float64(result.Position))
	s.comparisons.at.WithLabelValues(result.View).SetToCurrentTime()
	for _, d := range result.Differences {
		s.Logger.ErrorContext(ctx, "a stored document is not what follows from the log", "view", result.View,
			"id", d.ID, "what", d.What, "stored_position", d.Stored, "built_position", d.Built)
	}
	s.Logger.InfoContext(ctx, "a view was compared with the log", "view", result.View, "position", result.Position,
		"documents", result.Documents, "drift", result.Drift)
}

const (
	// compareFirst is how soon after a start views are compared at the latest: a server that
	// starts more often than it compares would never do it.
	compareFirst = 10 * time.Minute
	// compareAgain is how soon it is tried again to compare what an operator is busy with.
	compareAgain = time.Minute
)

// compareNowAndThen compares all views again and again, until ctx ends. That it fails is
// no reason to stop serving.
func (s *Server) compareNowAndThen(ctx context.Context) error {
	for pause := min(s.CompareEvery, compareFirst); sleep(ctx, pause); pause = s.CompareEvery {
		if err := s.compareAll(ctx); err != nil && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "views could not be compared", "error", err)
		}
	}
	return nil
}

// compareAll compares all views. What an operator is building or comparing has its turn when
// that is over.
func (s *Server) compareAll(ctx context.Context) error {
	left, checked := viewNames(), false
	for {
		err := s.comparing(func() error {
			if !checked {
				if err := s.checkBeforeComparing(ctx); err != nil {
					return err
				}
				checked = true
			}
			return s.compareEach(ctx, left, func(l http.CompareLine) {
				if l.Result != nil {
					left = left[1:]
				}
			})
		})
		if !errors.Is(err, projections.ErrBuilding) {
			return err
		}
		s.Logger.DebugContext(ctx, "views are compared later: an operator is busy with one", "views", left)
		if !sleep(ctx, min(s.CompareEvery, compareAgain)) {
			return nil
		}
		left = append(left[1:], left[0]) // the others need not wait
	}
}

func viewNames() []string {
	var names []string
	for _, v := range projections.Catalogue() {
		names = append(names, v.Name)
	}
	return names
}

// knownViews refuses names of views that there are not. No names are all of them.
func knownViews(names []string) ([]string, error) {
	if len(names) == 0 {
		return viewNames(), nil
	}
	known := map[string]bool{}
	for _, name := range viewNames() {
		known[name] = true
	}
	for _, name := range names {
		if !known[name] {
			return nil, ledger.Refuse("unknown_view", "There is no view %q.", name).About("views")
		}
	}
	return names, nil
}

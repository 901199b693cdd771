package server

import (
	"context"
	"log/slog"
	"time"
)

const (
	standstillLook = 10 * time.Second
	standstillMax  = 30 * time.Second // a batch takes a second; dropping a large table some
)

// A standstill looks at the views now and then, and tells when they stay where they are:
// whatever holds a projector up for good, somebody is to know.
type standstill struct {
	position func() uint64 // of the views
	last     func() uint64 // of the log
	building func() []string
	logger   *slog.Logger

	at    uint64
	since time.Time
}

// run looks until ctx ends.
func (s *standstill) run(ctx context.Context) error {
	for sleep(ctx, standstillLook) {
		s.look(ctx, time.Now())
	}
	return nil
}

// look tells of views that have not moved for long although they lack events. Those that are
// built for a new version do so, and are told of elsewhere.
func (s *standstill) look(ctx context.Context, now time.Time) {
	position, last := s.position(), s.last()
	if s.since.IsZero() || position != s.at || position >= last || len(s.building()) > 0 {
		s.at, s.since = position, now
	}
	if still := now.Sub(s.since); still >= standstillMax {
		s.logger.ErrorContext(ctx, "the views stand still: if it lasts, start the server again", "position", position,
			"behind", last-position, "for", still.Round(time.Second).String())
	}
}

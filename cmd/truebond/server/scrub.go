package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"truebond/commands/vault"
	"truebond/events/jetstream"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/sqlite/sqlitefile"
)

// scrubEvery is how often the log's files are read from one end to the other, where views
// are not compared with the log.
const scrubEvery = 24 * time.Hour

// scrubs are what the server knows of bits that have flipped on its disk.
type scrubs struct {
	rot atomic.Pointer[jetstream.Rot] // nil: none was found
	at  atomic.Int64                  // Unix seconds; 0: never
}

// scrub reads the log's files. Rot that it finds makes the server not ready for good: it
// is to be stopped and mended.
func (s *Server) scrub(ctx context.Context) error {
	if rot := s.scrubs.rot.Load(); rot != nil {
		return rot
	}
	err := s.Log.Scrub(ctx)
	if rot := new(jetstream.Rot); errors.As(err, &rot) {
		s.scrubs.rot.Store(rot)
	}
	if err == nil {
		s.scrubs.at.Store(time.Now().Unix())
	}
	return err
}

// checkFiles looks whether the files of log, views and vault are as they were written.
func (s *Server) checkFiles(ctx context.Context) error {
	err := s.scrub(ctx)
	for _, store := range []any{s.Store, s.keys} {
		if checked, ok := store.(interface{ Check(context.Context) error }); ok && err == nil {
			err = checked.Check(ctx)
		}
	}
	if errors.Is(err, jetstream.ErrRotten) || errors.Is(err, projections.ErrStoreDamaged) ||
		errors.Is(err, vault.ErrDamaged) {
		s.Logger.ErrorContext(ctx, "a file is damaged", "error", err)
		return ledger.Refuse("damaged", "%v", err)
	}
	return err
}

// scrubNowAndThen reads the log's files again and again, until ctx ends.
func (s *Server) scrubNowAndThen(ctx context.Context) error {
	for {
		if err := s.scrub(ctx); err != nil && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "the log's files cannot be read, or are damaged", "error", err)
		}
		if !sleep(ctx, cmp.Or(s.CompareEvery, scrubEvery)) {
			return nil
		}
	}
}

// checkLog tells whether the log can be read and written, and is whole.
func (s *Server) checkLog(ctx context.Context) (string, error) {
	if rot := s.scrubs.rot.Load(); rot != nil {
		return "damaged on disk", rot
	}
	return "", s.Log.Ping(ctx)
}

// whole is a check of a store that may keep its own files. Damage is told with its place.
func whole(ping func(context.Context) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		err := ping(ctx)
		if place := new(sqlitefile.Damage); errors.As(err, &place) {
			return fmt.Sprintf("damaged on disk: %s from byte %d on", filepath.Base(place.File), place.From), err
		}
		if errors.Is(err, projections.ErrStoreDamaged) || errors.Is(err, vault.ErrDamaged) {
			return "damaged on disk", err
		}
		return "", err
	}
}

func (s *scrubs) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		gauge("log_damaged_position", "Position of the first event that is damaged on disk; 0: none was found.",
			func() float64 {
				if rot := s.rot.Load(); rot != nil {
					return float64(rot.Position)
				}
				return 0
			}),
		gauge("log_scrubbed_timestamp_seconds", "When the log's files were last found sound, in Unix time; 0: never.",
			func() float64 { return float64(s.at.Load()) }),
	}
}

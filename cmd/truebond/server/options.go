package server

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"truebond/cmd/truebond/settings"
)

// Options are an operator's switches for a server.
type Options struct {
	Data         string         // the data folder
	Listen       string         // host:port; port 0 takes a free one
	NATS         string         // URL of an outside cluster; empty: the log is in the data folder
	Replicas     int            // of the log on that cluster
	Proxies      []netip.Prefix // whose X-Forwarded-For is believed
	TestClock    bool
	CompareEvery time.Duration      // how often views are compared with the log; 0: never
	Archive      string             // where one is kept: a folder, InBucket, Nowhere; empty: the bucket if there is one
	ArchiveEvery time.Duration      // how far it may be behind; 0: DefaultArchiveEvery
	Settings     *settings.Settings // nil: those of the surroundings
	Logger       *slog.Logger       // nil: silent
}

// drainTime is how long a stopping server works on for those it serves.
const drainTime = 20 * time.Second

// Serve serves until ctx ends, and stops in good order. It tells when it has begun.
func Serve(ctx context.Context, o Options, begun func(*Server) error) error {
	s, err := Start(ctx, o)
	if err != nil {
		return err
	}
	failed := begun(s)
	if failed == nil {
		select {
		case <-ctx.Done():
		case failed = <-s.failures:
		}
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(failed, s.Stop(stopping))
}

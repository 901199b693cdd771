package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

// options are an operator's switches for a server.
type options struct {
	data         string // the data folder
	listen       string // host:port; port 0 takes a free one
	nats         string // URL of an outside cluster; empty: the log is in the data folder
	replicas     int    // of the log on that cluster
	proxies      []string
	testClock    bool
	compareEvery time.Duration // how often views are compared with the log; 0: never
	archive      string        // where the archive is kept: a folder, inBucket, nowhere; empty: the bucket if there is one
	archiveEvery time.Duration // how far the archive may be behind; 0: a minute
	damaged      bool          // open the log although it is, to mend it
	settings     *settings     // nil: those of the surroundings
	logger       *slog.Logger  // nil: silent
}

// validate refuses switches that cannot work, before anything is made or opened.
func (o options) validate() error {
	if err := validateAddress(o.listen); err != nil {
		return err
	}
	switch _, err := o.proxyNetworks(); {
	case err != nil:
		return err
	case o.archiveEvery <= 0:
		return misused("--archive-every %v is not above 0", o.archiveEvery)
	case o.compareEvery < 0:
		return misused("--compare-every %v is below 0", o.compareEvery)
	}
	return nil
}

// validateAddress refuses a --listen that is no address.
func validateAddress(listen string) error {
	if _, err := net.ResolveTCPAddr("tcp", listen); err != nil {
		return misused("--listen %s is not an address like 127.0.0.1:8080: %w", listen, err)
	}
	return nil
}

// proxyNetworks are the proxies whose X-Forwarded-For is believed.
func (o options) proxyNetworks() ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range o.proxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, misused("--trust-proxy %s is not a network like 10.0.0.0/8", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// drainTime is how long a stopping server works on for those it serves.
const drainTime = 20 * time.Second

func serveCommand() *cobra.Command {
	o, level := options{}, slog.LevelInfo
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the API on data that is kept",
		Long: `Serves the API, and keeps the log, the views and the secrets in the data folder.
Settings come from the environment (see .env.example): a MongoDB for the views, a
Redis for limits and presence, Stripe's keys. What is not set has an embedded stand-in.

It stops in good order on SIGTERM and Ctrl-C: what is under way is answered first.`,
		Example: `  truebond serve --data ./data --listen 127.0.0.1:8080
  truebond serve --data ./data --nats nats://n1:4222,nats://n2:4222,nats://n3:4222`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			o.logger = newLogger(cmd.ErrOrStderr(), level)
			goredis.SetLogger(redisNotes{o.logger})
			return serve(cmd.Context(), o, func(s *server) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "TrueBond serves on %s\nCheckpoints of its log are signed by %s\n",
					s.url(), s.tree.Key())
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", dataDefault, "folder that everything is kept in")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve on; port 0 takes a free one")
	flags.StringVar(&o.nats, "nats", "", "URL of an outside NATS cluster for the log (sync_interval: always)")
	replicasFlag(flags, &o.replicas)
	flags.StringSliceVar(&o.proxies, "trust-proxy", nil, "network of proxies whose X-Forwarded-For is believed")
	flags.StringVar(&o.archive, "archive", "",
		"folder that an archive of the log is kept in, or bucket, or none (default: the bucket, if one is set)")
	flags.DurationVar(&o.archiveEvery, "archive-every", archiveEvery, "how far the archive may be behind the log")
	flags.BoolVar(&o.testClock, "test-clock", false, "a clock that stands still until it is moved (never with real money)")
	flags.DurationVar(&o.compareEvery, "compare-every", 24*time.Hour,
		"how often views are compared with the log, see \"truebond compare\"; 0: never")
	flags.TextVar(&level, "log-level", level, "debug, info, warn or error")
	return cmd
}

// serve serves until ctx ends, and stops in good order. It tells when it has begun.
func serve(ctx context.Context, o options, begun func(*server) error) error {
	s, err := startServer(ctx, o)
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
	return errors.Join(failed, s.stop(stopping))
}

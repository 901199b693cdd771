package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"truebond/cmd/truebond/logging"
	"truebond/cmd/truebond/server"
)

func serveCommand() *cobra.Command {
	o, level := server.Options{}, slog.LevelInfo
	var proxies []string
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
			var err error
			if o.Proxies, err = trustedProxies(proxies); err != nil {
				return err
			}
			if err := validateOptions(o); err != nil {
				return err
			}
			logs := cmd.ErrOrStderr()
			o.Logger = logging.New(logs, level, isTerminal(logs))
			goredis.SetLogger(logging.RedisNotes{Logger: o.Logger})
			err = server.Serve(cmd.Context(), o, func(s *server.Server) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "TrueBond serves on %s\nCheckpoints of its log are signed by %s\n",
					s.URL(), s.Key())
				return err
			})
			if errors.Is(err, server.ErrInDataFolder) {
				return &misuseError{err}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Data, "data", dataDefault, "folder that everything is kept in")
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address to serve on; port 0 takes a free one")
	flags.StringVar(&o.NATS, "nats", "", "URL of an outside NATS cluster for the log (sync_interval: always)")
	replicasFlag(flags, &o.Replicas)
	flags.StringSliceVar(&proxies, "trust-proxy", nil, "network of proxies whose X-Forwarded-For is believed")
	flags.StringVar(&o.Archive, "archive", "",
		"folder that an archive of the log is kept in, or bucket, or none (default: the bucket, if one is set)")
	flags.DurationVar(&o.ArchiveEvery, "archive-every", server.DefaultArchiveEvery,
		"how far the archive may be behind the log")
	flags.BoolVar(&o.TestClock, "test-clock", false, "a clock that stands still until it is moved (never with real money)")
	flags.DurationVar(&o.CompareEvery, "compare-every", 24*time.Hour,
		"how often views are compared with the log, see \"truebond compare\"; 0: never")
	flags.TextVar(&level, "log-level", level, "debug, info, warn or error")
	return cmd
}

// validateOptions refuses switches that cannot work, before anything is made or opened.
func validateOptions(o server.Options) error {
	if err := validateAddress(o.Listen); err != nil {
		return err
	}
	switch {
	case o.ArchiveEvery <= 0:
		return misused("--archive-every %v is not above 0", o.ArchiveEvery)
	case o.CompareEvery < 0:
		return misused("--compare-every %v is below 0", o.CompareEvery)
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

// trustedProxies reads networks.
func trustedProxies(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, misused("--trust-proxy %s is not a network like 10.0.0.0/8", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

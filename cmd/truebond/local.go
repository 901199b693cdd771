package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/server"
)

const dataDefault = "data" // the folder of a server that was started without --data

const stopTimeout = 30 * time.Second // a view's last batch is written by then

// runAgainst runs a subcommand against the server of a data folder. When none runs
// there, it starts one for as long as the work takes, on a port of this machine only.
func runAgainst(ctx context.Context, t target, log logPlace, work func(*client) error) (err error) {
	c, err := t.connect(ctx)
	if err == nil {
		return work(c)
	}
	if !errors.Is(err, errNoServer) {
		return err
	}
	if _, err := os.Stat(t.data); err != nil {
		return fmt.Errorf("there is no data folder %s", t.data) // a mistyped name makes no new one
	}
	s, err := server.Start(ctx, server.Options{
		Data: t.data, Listen: "127.0.0.1:0", NATS: log.nats, Replicas: log.replicas,
	})
	if err != nil {
		return fmt.Errorf("no server is running on %s, and none can be started: %w", t.data, err)
	}
	defer func() {
		// Also when the work was interrupted: what it has begun is to end in good order.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, s.Stop(ctx))
	}()
	if c, err = t.connect(ctx); err != nil {
		return err
	}
	return work(c)
}

// targetFlags adds what all subcommands share that talk to a server.
func targetFlags(cmd *cobra.Command, t *target) {
	cmd.Flags().StringVar(&t.data, "data", dataDefault, "data folder of the server on this machine")
	cmd.Flags().StringVar(&t.server, "server", "", "URL of a remote server, instead of --data")
	cmd.Flags().StringVar(&t.key, "key", "", "API key for the remote server")
}

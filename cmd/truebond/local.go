package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

const stopTimeout = 30 * time.Second // a view's last batch is written by then

// natsFlag is for subcommands that may have to start a server themselves.
func natsFlag(cmd *cobra.Command, nats *string) {
	cmd.Flags().StringVar(nats, "nats", "", "URL of the log's cluster, when the server to start needs one")
}

// runAgainst runs a subcommand against the server of a data folder. When none runs
// there, it starts one for as long as the work takes, on a port of this machine only.
func runAgainst(ctx context.Context, t target, nats string, work func(*client) error) (err error) {
	c, err := t.connect(ctx)
	if err == nil {
		return work(c)
	}
	if !errors.Is(err, errNoServer) {
		return err
	}
	server, err := startServer(ctx, options{data: t.data, listen: "127.0.0.1:0", nats: nats})
	if err != nil {
		return fmt.Errorf("no server is running on %s, and none can be started: %w", t.data, err)
	}
	defer func() {
		// Also when the work was interrupted: what it has begun is to end in good order.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, server.stop(ctx))
	}()
	if c, err = t.connect(ctx); err != nil {
		return err
	}
	return work(c)
}

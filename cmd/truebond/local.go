package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const stopTimeout = 30 * time.Second // a view's last batch is written by then

// serverFlags are for subcommands that may have to start a server themselves.
func serverFlags(cmd *cobra.Command, o *options) {
	cmd.Flags().StringVar(&o.nats, "nats", "", "URL of the log's cluster, if no server runs")
	replicasFlag(cmd.Flags(), &o.replicas)
}

// A replicaCount is how many copies of a stream a cluster keeps.
type replicaCount int

const (
	replicasMax  = 5 // JetStream's
	replicasType = "count"
)

func replicasFlag(flags *pflag.FlagSet, n *int) {
	*n = 3
	flags.Var((*replicaCount)(n), "replicas", "copies of the log on that cluster")
}

func (n *replicaCount) Set(text string) error {
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 || count > replicasMax {
		return errors.New("not so many")
	}
	*n = replicaCount(count)
	return nil
}

func (n *replicaCount) String() string { return strconv.Itoa(int(*n)) }

func (*replicaCount) Type() string { return replicasType }

// runAgainst runs a subcommand against the server of a data folder. When none runs
// there, it starts one for as long as the work takes, on a port of this machine only.
func runAgainst(ctx context.Context, t target, o options, work func(*client) error) (err error) {
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
	o.data, o.listen = t.data, "127.0.0.1:0"
	server, err := startServer(ctx, o)
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

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"truebond/cmd/truebond/datafolder"
	"truebond/events"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
	"truebond/events/merkle"
)

// A logPlace is where a log is that no server may run on.
type logPlace struct {
	nats     string // URL of an outside cluster; empty: the log is in the data folder
	replicas int    // of the log on that cluster
}

// logFlags are for subcommands that may have to open the log themselves, or start a server.
func logFlags(cmd *cobra.Command, p *logPlace) {
	cmd.Flags().StringVar(&p.nats, "nats", "", "URL of the log's cluster, if no server runs")
	replicasFlag(cmd.Flags(), &p.replicas)
}

// openLogAlone opens the log of a data folder that no server runs on, and keeps servers
// off until it is released.
func openLogAlone(ctx context.Context, data string, place logPlace) (*jetstream.Log, func() error, error) {
	folder, unlock, err := datafolder.HoldExisting(data)
	if err != nil {
		return nil, nil, err
	}
	log, err := openOnlyLog(ctx, folder, place)
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return log, func() error { return errors.Join(log.Close(), unlock()) }, nil
}

// openOnlyLog opens a log that is there already, in a folder that the caller has locked.
func openOnlyLog(ctx context.Context, folder datafolder.Folder, place logPlace) (*jetstream.Log, error) {
	if err := folder.CheckRestored(); err != nil {
		return nil, err
	}
	if place.nats == "" {
		if err := hasLog(folder); err != nil {
			return nil, err
		}
	}
	o := place.options(folder.Path)
	o.Existing = true
	return openLog(ctx, o)
}

func hasLog(folder datafolder.Folder) error {
	if _, err := os.Stat(folder.Join(datafolder.LogFolder)); err != nil {
		return fmt.Errorf("there is no log in %s", folder.Path)
	}
	return nil
}

// openLogIn opens the log of a folder, or of a cluster.
func openLogIn(ctx context.Context, path string, place logPlace) (*jetstream.Log, error) {
	return openLog(ctx, place.options(path))
}

func (p logPlace) options(path string) jetstream.Options {
	return jetstream.Options{Dir: path, URL: p.nats, Replicas: p.replicas}
}

func openLog(ctx context.Context, o jetstream.Options) (_ *jetstream.Log, err error) {
	if o.Codec, err = events.NewCodec(); err != nil {
		return nil, err
	}
	o.Durable = datafolder.Folder{Path: o.Dir}.SignedSize()
	return jetstream.Open(ctx, o)
}

// signAll signs for all of a log that no server runs on, as its server does within a second. After a kill
// its last events may not be signed for.
func signAll(ctx context.Context, d datafolder.Folder, signer *merkle.Signer, log *jetstream.Log) error {
	last, err := log.Last(ctx)
	if err != nil || last == 0 {
		return err
	}
	tree, err := checkpoints.Open(ctx, d.Path, signer, log, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	running, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop(tree.Run(running))
	}()
	err = tree.Await(running, last)
	stop(nil)
	<-ended
	return errors.Join(err, tree.Close())
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

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"truebond/cmd/truebond/wording"
	"truebond/commands/cluster"
	"truebond/events/archive"
	"truebond/events/jetstream"
)

// intoCluster makes the log of a cluster, or completes one that is the archive's so far. It
// holds the lease meanwhile, so that nobody serves; when it is cut off, a note keeps servers
// away until it was run again.
func (r *restore) intoCluster(ctx context.Context, until archive.Until) (err error) {
	log, err := openLogIn(ctx, "", r.logPlace)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	quiet := slog.New(slog.DiscardHandler)
	conn, err := cluster.Connect(ctx, r.nats, quiet)
	if err != nil {
		return err
	}
	defer conn.Close()
	me := cluster.Member{ID: nuid.Next(), Alone: true, Task: "`truebond restore`"}
	lease, err := cluster.OpenLease(ctx, conn, r.replicas, me, nobodyElse, quiet)
	if err != nil {
		return err
	}
	running, done := context.WithCancel(ctx)
	defer done()
	err = lease.Run(running, func(held context.Context) error {
		defer done()
		return r.complete(held, conn, log, until)
	})
	return errors.Join(err, ctx.Err())
}

// nobodyElse refuses to restore while somebody holds the lease.
func nobodyElse(holder cluster.Member) error {
	if holder.Task != "" {
		return fmt.Errorf("another %s is under way", holder.Task)
	}
	return fmt.Errorf("the server at %s serves this log: stop all servers first", holder.URL)
}

// complete restores while the lease is held.
func (r *restore) complete(ctx context.Context, conn *nats.Conn, log *jetstream.Log, until archive.Until) error {
	unfinished, err := cluster.RestoreUnfinished(ctx, conn)
	if err != nil {
		return err
	}
	found, err := r.inspectCluster(ctx, log)
	if err != nil {
		return err
	}
	if found.Last > 0 && found.None() && !unfinished {
		if r.until != "" {
			return errors.New("the cluster has a log: --until makes an earlier one, on a cluster that has none")
		}
		fmt.Fprintf(r.out, "The log of the cluster is sound, up to position %d. Nothing was changed.\n", found.Last)
		return nil
	}
	if err := r.refuseUnsigned(ctx, until, found); err != nil {
		return err
	}
	if r.until == "" {
		if err := r.tellLoss(found); err != nil {
			return err
		}
	}
	if err := cluster.BeginRestore(ctx, conn); err != nil {
		return err
	}
	r.restorer.Has = found.Last
	done, err := r.fill(ctx, log, until, found)
	if err != nil {
		return err
	}
	if err := cluster.NoteEraseAgain(ctx, conn, done.Erased); err != nil {
		return err
	}
	if err := r.prepare(done); err != nil {
		return err
	}
	if err := cluster.EndRestore(ctx, conn); err != nil {
		return err
	}
	where := cmp.Or(conn.ConnectedClusterName(), conn.ConnectedUrlRedacted()) // a server alone has no name
	fmt.Fprintf(r.out, "The log is in the cluster at %s.\n", where)
	return nil
}

// inspectCluster compares the cluster's log with the archive. What is in a stream stays as
// it is, so a log that is not the archive's up to its end is refused.
func (r *restore) inspectCluster(ctx context.Context, log *jetstream.Log) (found archive.Damage, err error) {
	err = r.show(ctx, "inspect", r.restorer.Archive.Last(), func() (err error) {
		found, err = r.restorer.Inspect(ctx, log)
		return err
	})
	const way = "a stream cannot be mended: keep a copy of it, delete it, and restore again"
	switch {
	case errors.Is(err, archive.ErrOther):
		return found, fmt.Errorf("the cluster has a log of %s that is not the archive's: %w; nothing was changed",
			wording.Events(found.Last), err)
	case err == nil && found.First > 0 && found.First <= found.Last:
		return found, fmt.Errorf("event %d of the cluster's log is not the archive's: %w; %s", found.First, found.Why, way)
	case err == nil && refuseNewer(found) != nil:
		return found, refuseNewer(found)
	case err == nil && found.Last > r.restorer.Archive.Last() && found.Lost > 0:
		return found, fmt.Errorf("the cluster's log has all of the archive, and yet lacks events: %w", found.Cause)
	}
	return found, err
}

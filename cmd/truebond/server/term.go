package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"truebond/commands"
	"truebond/commands/cluster"
	"truebond/commands/writer"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/projections"
)

// A term is the time in which this process leads: it decides commands, stores views, and
// does what is due. A process that nobody serves beside has one term, its life.
//
// A field hides the server's of the same name, which goes by whoever leads: t.writer is the term's own,
// t.Server.writer the seat that it sits in.
type term struct {
	*Server
	projector *projections.Projector
	views     *views
	writer    *writer.Writer
	work      *works
	failures  chan<- error // each ends the term
}

var errStopping = errors.New("it is stopping")

// lead leads until ctx ends. Its cause cluster.ErrLost says that another may lead already:
// all stops at once then, and nobody who waits is told anything that it decided. An error
// is the server's end.
func (s *Server) lead(ctx context.Context) error {
	began := time.Now()
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	defer context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), cluster.ErrLost) {
			cut(writer.ErrDeposed)
		}
	})()
	failures := make(chan error, 8)
	t := &term{Server: s, work: newWorks(base, failures), failures: failures}
	err := t.begin(ctx, failures)
	if err == nil {
		s.Logger.InfoContext(ctx, "this server leads", "took", time.Since(began).Round(time.Millisecond).String())
		s.leading(true)
		select {
		case <-ctx.Done():
		case err = <-failures:
		}
	}
	s.leading(false)
	stopMax := drainTime
	if errors.Is(err, errMisses) {
		stopMax = 2 * yieldMax
		defer time.AfterFunc(yieldMax, func() { cut(writer.ErrDeposed) }).Stop()
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
	defer cancel()
	stopped := t.work.stopAll(stopping)
	if s.archiver != nil && s.lease == nil && err == nil && stopped == nil {
		s.archiver.finish(stopping)
	}
	s.writer.Leave()
	s.projector.take(nil)
	return s.afterTerm(ctx, err, stopped)
}

// afterTerm is what comes of a term that ended with failed, some of whose works may not have stopped.
// An error is the server's end.
func (s *Server) afterTerm(ctx context.Context, failed, stopped error) error {
	switch {
	// What has not stopped waits for what is missed: MongoDB's driver for its answer to an abort. That
	// is no failure of the server either when it loses the lease, or is stopped, at the same time.
	case errors.Is(failed, errMisses):
		s.Logger.WarnContext(ctx, "this server leaves the lease to another", "why", failed, "left", stopped)
		return nil
	case ctx.Err() != nil: // what fails while it ends is no failure of the server
		why := context.Cause(ctx)
		if errors.Is(why, context.Canceled) {
			why = errStopping
		}
		s.Logger.InfoContext(ctx, "this server does not lead any more", "why", why)
		return stopped
	case failed != nil && s.mayPass(failed):
		s.Logger.WarnContext(ctx, "this server cannot lead now; it or another tries again", "error", failed)
		return stopped
	}
	return errors.Join(failed, stopped)
}

// mayPass tells whether an error is a reason to lead later, and not to end the server.
// Who has started the only server for a log wants to know what is wrong.
func (s *Server) mayPass(err error) bool {
	return !stays(err) && (s.shared != nil || s.lease != nil && s.terms.Load() > 0)
}

// stays tells whether an error is one that waiting does not mend.
func stays(err error) bool {
	for _, one := range []error{projections.ErrBroken, projections.ErrUnreadable, events.ErrGap, events.ErrUnreadable} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// begin starts all that a leader does, and returns when commands can be taken. What
// erasures a crash has left undone are finished before.
func (t *term) begin(ctx context.Context, failures <-chan error) error {
	if err := t.checkRestoredCluster(ctx); err != nil {
		return err
	}
	t.projector = projections.NewProjector(t.Store, t.Log, projections.Catalogue(), t.Logger)
	if err := t.takeOver(ctx); err != nil {
		return err
	}
	if err := t.checkEnd(ctx); err != nil {
		return err
	}
	if err := t.projector.Prepare(ctx); err != nil {
		return err
	}
	if err := t.reachLastEvent(ctx); err != nil {
		return err
	}
	t.views = &views{reader: t.reader, projector: t.projector}
	var log writer.Log = t.Log
	if t.lease != nil {
		log = fenced{t.Log, t.sure}
	}
	t.writer = writer.New(log, t.views, t.codec, t.clock.Now, writer.DefaultLimits, t.Logger)
	t.Server.projector.take(t.projector)
	t.Server.writer.Take(t.writer)
	t.work.start("projector", t.projector.Run)
	t.work.start("writer", func(ctx context.Context) error {
		// A fold with a new version is built first: nothing is decided by older documents.
		if err := t.projector.WaitBuilt(ctx, 0); err != nil {
			t.writer.SendAway()
			return err
		}
		return t.writer.Run(ctx, t.work.ctx)
	})
	if err := unlessFailed(ctx, failures, t.Commands.Seed, t.repeatErasures, t.finishErasures); err != nil {
		return err
	}
	t.work.start("timers", t.timers.Run)
	t.work.start("missing keys", t.tellMissingKeys)
	t.work.start("calls", commands.NewWatch(t.Commands, t.views, t.Logger).Run)
	t.work.start("standstill", (&standstill{position: t.projector.Position, last: t.writer.Last,
		building: t.projector.Building, logger: t.Logger}).run)
	if t.archiver != nil {
		t.work.start("archiver", t.runArchiver)
	}
	if t.CompareEvery > 0 {
		t.work.start("comparisons", t.compareNowAndThen)
	}
	if t.shared == nil {
		return nil
	}
	t.work.start("positions", func(ctx context.Context) error {
		return t.shared.vouch(ctx, t.writer.Last, t.lease.SetMark)
	})
	return t.serveOthers()
}

// checkEnd makes sure that the views go with the log. A server of the log that was cut off
// until just now does not have all that is in the views.
func (t *term) checkEnd(ctx context.Context) error {
	if t.lease == nil {
		return nil // that was done at the start
	}
	positions, err := t.projector.Positions(ctx)
	if err != nil {
		return err
	}
	return t.Log.Check(ctx, positions)
}

// takeOver ends what the one before has left unfinished in the store.
func (t *term) takeOver(ctx context.Context) error {
	if store, shared := t.Store.(interface {
		TakeOver(ctx context.Context) error
	}); shared {
		return store.TakeOver(ctx)
	}
	return nil
}

// reachLastEvent lets the clock go on from the last event, whoever wrote it.
func (t *term) reachLastEvent(ctx context.Context) error {
	_, at, err := t.lastEvent(ctx)
	if err == nil {
		t.clock.Reach(at)
	}
	return err
}

// finishErasures destroys keys that a crash has left behind, and those that a restored
// vault has brought back.
func (t *term) finishErasures(ctx context.Context) error {
	if err := t.projector.Wait(ctx, t.writer.Last()); err != nil {
		return err
	}
	return t.Queries.EachErased(ctx, t.vault.FinishErasures)
}

// unlessFailed takes steps one after the other, and gives up with the cause when one of
// the works that they need ends.
func unlessFailed(ctx context.Context, failures <-chan error, steps ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		var err error
		for _, step := range steps {
			if err == nil {
				err = step(ctx)
			}
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case failed := <-failures:
		cancel(failed)
		<-done
		return failed
	}
}

// fenced is the log as the writer of one term sees it, where others may write too. What is
// appended without being sure of the lease would be refused as a rule; but a writer that
// has read what it missed could go on writing, in turns with the new one.
type fenced struct {
	*jetstream.Log
	sure func() bool
}

// Append appends while the lease is held for certain. The log's expected sequence guards
// what happens after this look at the clock.
func (f fenced) Append(ctx context.Context, after uint64, records []events.Record) error {
	if !f.sure() {
		return cluster.ErrLost
	}
	return f.Log.Append(ctx, after, records)
}

// Confirm makes sure that the log ends at a position, and that nobody else may decide.
func (f fenced) Confirm(ctx context.Context, position uint64) error {
	last, err := f.Last(ctx)
	switch {
	case err != nil:
		return err
	case last > position:
		return fmt.Errorf("the log ends at %d, not at %d: %w", last, position, events.ErrBeaten)
	case !f.sure():
		return cluster.ErrLost
	}
	return nil
}

var _ writer.Confirmer = fenced{}

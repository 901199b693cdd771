package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"truebond/events"
	"truebond/ledger"
	"truebond/queries"
)

const (
	queryCallers = 4
	queryPause   = 2 * time.Millisecond // between a caller's queries: people read now and then
)

// queries measures what readers wait while the projector has nothing to do, and while it
// works off what a burst of charges has left. There is no other load then.
func (b *bench) queries(ctx context.Context, l *ledgerBench) error {
	charge, err := l.begin(l.anyAccount, l.direct)(ctx, 256)
	if err != nil {
		return err
	}
	var idle, busy []measured
	for range b.Rounds {
		m, err := l.read(ctx, func() bool { return true }, b.burst())
		if err != nil {
			return err
		}
		idle = append(idle, m)
		ended := make(chan error, 1)
		go func() {
			_, err := charge(ctx, b.burst()) // it waits for the views at its end
			ended <- err
		}()
		sleep(ctx, b.burst())
		behind := func() bool { return l.server.Behind() > 0 }
		m, err = l.read(ctx, behind, 2*b.burst())
		if err = errors.Join(err, <-ended); err != nil {
			return err
		}
		busy = append(busy, m)
	}
	b.add(row("query-idle", queryCallers, idle))
	b.add(row("query-busy", queryCallers, busy))
	return nil
}

// read has readers ask for balances and statements for a while, or as long as a
// condition holds.
func (l *ledgerBench) read(ctx context.Context, still func() bool, length time.Duration) (measured, error) {
	var n atomic.Int64
	one := func(ctx context.Context) error {
		i := n.Add(1)
		user := benchUser(int(i*7919) % l.accounts)
		ctx = ledger.WithCaller(ctx, ledger.Caller{Actor: events.Actor{Kind: events.ActorUser, ID: user}})
		if i%2 == 0 {
			_, err := l.server.Queries.Balance(ctx, queries.Nothing{})
			return err
		}
		_, err := l.server.Queries.History(ctx, queries.Page{})
		return err
	}
	all := make([]caller, queryCallers)
	for i := range all {
		all[i] = one
	}
	inTime := lasting(length)
	return together(ctx, all, func() bool { return still() && inTime() }, queryPause)
}

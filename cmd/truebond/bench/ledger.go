package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/commands"
	"truebond/commands/writer"
	"truebond/events"
	"truebond/ledger"
)

const (
	benchAccounts = 10_000    // but for tests
	benchFunds    = 1_000_000 // credits each, as many as signing up may give; one charge takes one
)

// openLedger starts a server with funded accounts.
func openLedger(ctx context.Context, folder string, accounts int) (*ledgerBench, error) {
	s, err := server.Start(ctx, server.Options{Data: folder, Listen: "127.0.0.1:0", Settings: &settings.Settings{}})
	if err != nil {
		return nil, err
	}
	l := &ledgerBench{server: s, url: s.URL(), accounts: accounts}
	if err := errors.Join(l.fund(ctx), l.settle(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("fund accounts: %w", err), s.Stop(context.WithoutCancel(ctx)))
	}
	return l, nil
}

func (l *ledgerBench) anyAccount(n int64) string { return benchUser(int(n) % l.accounts) }

// hotAccount is one account for all, until half of its credits are spent.
func (l *ledgerBench) hotAccount(n int64) string { return benchUser(int(n / (benchFunds / 2))) }

// A ledgerBench has callers charge accounts.
type ledgerBench struct {
	server   *server.Server
	url      string // of the server
	accounts int
	key      string
	n        atomic.Int64 // charges so far: each has a key of its own
}

// A caller makes one charge and waits until it is durable.
type caller func(ctx context.Context) error

// fund makes the accounts, each with enough credits for all rounds.
func (l *ledgerBench) fund(ctx context.Context) error {
	prices := events.PricesSet{Version: 2, Message: 1, AudioMinute: 5, VideoMinute: 10, SignupBonus: benchFunds}
	system := func(key string, decide ledger.Decision) error {
		return insist(ctx, func() error {
			_, err := l.server.Do(ctx, writer.Command{Key: key, Actor: events.System, Decide: decide})
			return err
		})
	}
	if err := system("bench/prices", ledger.SetPrices(prices)); err != nil {
		return err
	}
	failed := make(chan error, l.accounts)
	places := make(chan struct{}, 512)
	for i := range l.accounts {
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			key := fmt.Sprintf("bench/user/%d", i)
			box := func(field string) events.Sealed {
				return events.Sealed{Owner: benchUser(i), Ref: events.SealedRef(key, field), Box: []byte("of nobody")}
			}
			failed <- system(key, ledger.SignUp(ledger.NewUser{
				User: benchUser(i), EmailHash: key, BirthDate: "1990-01-01", BonusLot: benchLot(i),
				Email: box("email"), Name: box("name"), SealedBirthDate: box("birth_date"), Password: box("password"),
				Session: events.Session{ID: "ses_" + benchUser(i), ExpiresAt: time.Now().UTC()},
			}))
		}()
	}
	var err error
	for range l.accounts {
		err = errors.Join(err, <-failed)
	}
	if err != nil {
		return err
	}
	ctx = ledger.WithCaller(ctx, ledger.Caller{Actor: events.Actor{Kind: events.ActorOperator}})
	made, err := l.server.Commands.CreateAPIKey(ctx, commands.CreateAPIKey{
		Name: "bench", Scopes: []string{ledger.ScopeDeduct},
	})
	l.key = made.Key
	return err
}

// insist tries again while the server says that it has too much to do.
func insist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if !errors.Is(err, writer.ErrOverloaded) {
			return err
		}
		if !sleep(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
}

// begin gets so many callers ready to charge accounts.
func (l *ledgerBench) begin(
	account func(int64) string, via func(context.Context, func(int64) string) (caller, error),
) func(context.Context, int) (round, error) {
	return func(ctx context.Context, callers int) (round, error) {
		all := make([]caller, callers)
		for i := range all {
			var err error
			if all[i], err = via(ctx, account); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context, length time.Duration) (measured, error) {
			m, err := together(ctx, all, lasting(length), 0)
			return m, errors.Join(err, l.settle(ctx))
		}, nil
	}
}

// settle waits for the views, so that the next round does not pay for this one.
func (l *ledgerBench) settle(ctx context.Context) error {
	return l.server.CatchUp(ctx)
}

// together has all callers call, again and again, as long as a condition holds, each with a pause between.
func together(ctx context.Context, all []caller, still func() bool, pause time.Duration) (m measured, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	begun := time.Now()
	for _, call := range all {
		group.Go(func() {
			var waits []time.Duration
			var failed error
			for failed == nil && still() {
				asked := time.Now()
				failed = insist(ctx, func() error { return call(ctx) })
				waits = append(waits, time.Since(asked))
				if pause > 0 {
					sleep(ctx, pause)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			m.waits, err = append(m.waits, waits...), errors.Join(err, failed)
		})
	}
	group.Wait()
	m.took, m.events = time.Since(begun), len(m.waits)
	return m, err
}

// lasting holds for a while from now on.
func lasting(length time.Duration) func() bool {
	begun := time.Now()
	return func() bool { return time.Since(begun) < length }
}

// direct charges through the writer.
func (l *ledgerBench) direct(_ context.Context, user func(int64) string) (caller, error) {
	return func(ctx context.Context) error {
		n := l.n.Add(1)
		_, err := l.server.Do(ctx, writer.Command{
			Key: benchKey(uint64(n)), Actor: events.Actor{Kind: events.ActorApp, ID: "key_bench"}, Request: make([]byte, 32),
			Decide: ledger.DeductCredits(user(n), 1, "bench"),
		})
		return err
	}, nil
}

// sleep is false when ctx ends before.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"truebond/commands"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
	"truebond/projections"
)

const (
	benchAccounts = 10_000
	benchFunds    = 1_000_000 // credits each; one charge takes one
	batchMax      = 1000      // messages in one atomic batch
)

// inFolder runs a case on a folder that is thrown away.
func inFolder(do func(folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "truebond-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return do(folder)
}

// jetstream measures the stream itself, with messages of the size that a charge has.
func (b *bench) jetstream(ctx context.Context) error {
	return inFolder(func(folder string) error {
		codec, err := events.NewCodec()
		if err != nil {
			return err
		}
		log, err := jetstream.Open(ctx, jetstream.Options{Dir: folder, Codec: codec})
		if err != nil {
			return err
		}
		defer log.Close() //nolint:errcheck // it is thrown away
		position := uint64(0)
		for _, callers := range b.callerCounts() {
			var rounds []measured
			for range b.rounds {
				m, err := b.rawRound(ctx, log, codec, min(callers, batchMax), &position)
				if err != nil {
					return err
				}
				rounds = append(rounds, m)
			}
			b.add(row("jetstream", callers, rounds))
		}
		return nil
	})
}

// rawRound publishes batches for the length of a burst. The batches are made ahead, a few
// at a time, and that time does not count.
func (b *bench) rawRound(
	ctx context.Context, log *jetstream.Log, codec *events.Codec, size int, position *uint64,
) (m measured, err error) {
	for m.took < b.burst() {
		batches := make([]*jetstream.RawBatch, max(1, 4000/size))
		for i := range batches {
			records := make([]events.Record, size)
			for j := range records {
				*position++
				if records[j], err = sampleCharge(codec, *position); err != nil {
					return m, err
				}
			}
			batches[i] = log.NewRawBatch(records)
		}
		for _, batch := range batches {
			begun := time.Now()
			if err := batch.Publish(ctx); err != nil {
				return m, err
			}
			took := time.Since(begun)
			m.events, m.took, m.waits = m.events+size, m.took+took, append(m.waits, took)
		}
	}
	return m, nil
}

// sampleCharge is an event as a charge makes it.
func sampleCharge(codec *events.Codec, position uint64) (events.Record, error) {
	user, lot := benchUser(int(position%benchAccounts)), benchLot(int(position%benchAccounts))
	now := time.Now().UTC().Truncate(time.Millisecond)
	e := events.Event{
		Position: position, Key: benchKey(position), Time: now, Effective: now,
		Actor: events.Actor{Kind: events.ActorApp, ID: "key_bench"}, Request: make([]byte, 32),
		Moves: []events.Move{{
			From: events.LotOf(user, lot), To: events.Spent(events.Promotional, ledger.UseOther),
			Asset: events.Credit, Amount: 1,
		}},
		Data: events.CreditsDeducted{User: user, Credits: 1, Reason: "bench", Available: benchFunds - int64(position)},
	}
	body, err := codec.Encode(e)
	return events.Record{Event: e, Body: body}, err
}

func benchUser(i int) string   { return fmt.Sprintf("usr_%032d", i) }
func benchLot(i int) string    { return fmt.Sprintf("lot_%032d", i) }
func benchKey(n uint64) string { return fmt.Sprintf("api/app/key_bench/%032d", n) }

// ledger measures the writer and HTTP on one server.
func (b *bench) ledger(ctx context.Context) error {
	return inFolder(func(folder string) error {
		s, err := startServer(ctx, options{data: folder, listen: "127.0.0.1:0", logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer s.stop(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
		l := &ledgerBench{bench: b, server: s}
		if err := l.fund(ctx); err != nil {
			return fmt.Errorf("fund accounts: %w", err)
		}
		anyone := func(n int64) string { return benchUser(int(n % benchAccounts)) }
		hot := func(int64) string { return benchUser(0) }
		for _, c := range []struct {
			name string
			user func(n int64) string
			via  func(ctx context.Context, user func(int64) string) (caller, error)
		}{{"writer", anyone, l.direct}, {"writer-hot", hot, l.direct}, {"http", anyone, l.overHTTP}} {
			for _, callers := range b.callerCounts() {
				if err := l.measure(ctx, c.name, callers, b.rounds, b.burst(), c.user, c.via); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			if !b.quick {
				if err := l.measure(ctx, c.name+"-sustained", 256, 1, sustained, c.user, c.via); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
		return nil
	})
}

// A ledgerBench has callers charge accounts.
type ledgerBench struct {
	*bench
	server *server
	key    string
	n      atomic.Int64 // charges so far: each has a key of its own
}

// A caller makes one charge and waits until it is durable.
type caller func(ctx context.Context) error

// fund makes the accounts, each with enough credits for all rounds.
func (l *ledgerBench) fund(ctx context.Context) error {
	prices := events.PricesSet{Version: 2, Message: 1, AudioMinute: 5, VideoMinute: 10, SignupBonus: benchFunds}
	system := func(key string, decide ledger.Decision) error {
		return insist(ctx, func() error {
			_, err := l.server.writer.Do(ctx, commands.Command{Key: key, Actor: events.System, Decide: decide})
			return err
		})
	}
	if err := system("bench/prices", ledger.SetPrices(prices)); err != nil {
		return err
	}
	failed := make(chan error, benchAccounts)
	places := make(chan struct{}, 512)
	for i := range benchAccounts {
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
	for range benchAccounts {
		err = errors.Join(err, <-failed)
	}
	if err != nil {
		return err
	}
	server, err := target{data: l.server.folder.path}.connect(ctx)
	if err != nil {
		return err
	}
	var made struct{ Key string }
	err = server.call(ctx, "POST", "/api/operator/api-keys",
		map[string]any{"name": "bench", "scopes": []string{ledger.ScopeDeduct}}, &made)
	l.key = made.Key
	return err
}

// insist tries again while the server says that it has too much to do.
func insist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if !errors.Is(err, commands.ErrOverloaded) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// measure has so many callers charge at the same time for a while.
func (l *ledgerBench) measure(ctx context.Context, name string, callers, rounds int, length time.Duration,
	user func(int64) string, via func(context.Context, func(int64) string) (caller, error)) error {
	all := make([]caller, callers)
	for i := range all {
		var err error
		if all[i], err = via(ctx, user); err != nil {
			return err
		}
	}
	var done []measured
	for range rounds {
		if err := l.settle(ctx); err != nil {
			return err
		}
		m, err := together(ctx, all, length)
		if err != nil {
			return err
		}
		done = append(done, m)
	}
	l.add(row(name, callers, done))
	return nil
}

// settle waits for the views, so that one round does not pay for the one before.
func (l *ledgerBench) settle(ctx context.Context) error {
	return l.server.projector.Wait(ctx, l.server.writer.Last())
}

// together has all callers call, again and again, until the time is over.
func together(ctx context.Context, all []caller, length time.Duration) (m measured, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	begun := time.Now()
	for _, call := range all {
		group.Add(1)
		go func() {
			defer group.Done()
			var waits []time.Duration
			var failed error
			for failed == nil && time.Since(begun) < length {
				asked := time.Now()
				failed = insist(ctx, func() error { return call(ctx) })
				waits = append(waits, time.Since(asked))
			}
			mu.Lock()
			defer mu.Unlock()
			m.waits, err = append(m.waits, waits...), errors.Join(err, failed)
		}()
	}
	group.Wait()
	m.took, m.events = time.Since(begun), len(m.waits)
	return m, err
}

// direct charges through the writer.
func (l *ledgerBench) direct(_ context.Context, user func(int64) string) (caller, error) {
	return func(ctx context.Context) error {
		n := l.n.Add(1)
		_, err := l.server.writer.Do(ctx, commands.Command{
			Key: benchKey(uint64(n)), Actor: events.Actor{Kind: events.ActorApp, ID: "key_bench"}, Request: make([]byte, 32),
			Decide: ledger.DeductCredits(user(n), 1, "bench"),
		})
		return err
	}, nil
}

// projectors measure how fast a log is folded into each store.
func (b *bench) projectors(mongoURL string) func(context.Context) error {
	return func(ctx context.Context) error {
		return inFolder(func(folder string) error {
			log, total, err := b.chargesToFold(ctx, filepath.Join(folder, "log"))
			if err != nil {
				return err
			}
			defer log.Close() //nolint:errcheck // it is thrown away
			for _, store := range []struct{ name, mongo string }{{"projector-sqlite", ""}, {"projector-mongo", mongoURL}} {
				if store.name == "projector-mongo" && mongoURL == "" {
					continue
				}
				if err := b.fold(ctx, store.name, store.mongo, dataFolder{folder}, log, total); err != nil {
					return fmt.Errorf("%s: %w", store.name, err)
				}
			}
			return nil
		})
	}
}

// chargesToFold is a log full of charges.
func (b *bench) chargesToFold(ctx context.Context, folder string) (*jetstream.Log, uint64, error) {
	codec, err := events.NewCodec()
	if err != nil {
		return nil, 0, err
	}
	log, err := jetstream.Open(ctx, jetstream.Options{Dir: folder, Codec: codec})
	if err != nil {
		return nil, 0, err
	}
	total := uint64(60_000)
	if b.quick {
		total = 20_000
	}
	for after := uint64(0); after < total; after += batchMax {
		records := make([]events.Record, batchMax)
		for i := range records {
			if records[i], err = sampleCharge(codec, after+uint64(i)+1); err != nil {
				return nil, 0, err
			}
		}
		if err := log.Append(ctx, after, records); err != nil {
			return nil, 0, err
		}
	}
	return log, total, nil
}

// fold measures the projector from the first event to the last. What a caller would wait
// is the time of a batch.
func (b *bench) fold(
	ctx context.Context, name, mongoURL string, folder dataFolder, log *jetstream.Log, total uint64,
) error {
	store, err := openViews(ctx, mongoURL, folder)
	if err != nil {
		return err
	}
	defer store.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
	p := projections.NewProjector(store, log, projections.Catalogue(), slog.New(slog.DiscardHandler))
	if err := p.Prepare(ctx); err != nil {
		return err
	}
	if p.Position() != 0 {
		return errors.New("the database is not empty; name one of the bench's own")
	}
	ctx, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	begun := time.Now()
	go func() { failed <- p.Run(ctx) }()
	var m measured
	for at := uint64(0); at < total; {
		asked := time.Now()
		if err := p.Wait(ctx, at+1); err != nil {
			stop()
			return errors.Join(err, <-failed)
		}
		at = p.Position()
		m.waits = append(m.waits, time.Since(asked))
	}
	m.events, m.took = int(total), time.Since(begun)
	stop()
	b.add(row(name, 1, []measured{m}))
	return <-failed
}

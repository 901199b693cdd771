package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/ledger"
	"truebond/projections"
)

// A rawBench publishes to the stream itself, messages of the size that a charge has.
type rawBench struct {
	log      *jetstream.Log
	codec    *events.Codec
	position uint64
}

func openRaw(ctx context.Context, folder string) (*rawBench, error) {
	codec, err := events.NewCodec()
	if err != nil {
		return nil, err
	}
	log, err := jetstream.Open(ctx, jetstream.Options{Dir: folder, Codec: codec})
	return &rawBench{log: log, codec: codec}, err
}

// begin publishes batches for as long as a round takes. They are made ahead, a few at a
// time, and that time does not count.
func (r *rawBench) begin(_ context.Context, callers int) (round, error) {
	size := min(callers, jetstream.BatchMax)
	return func(ctx context.Context, length time.Duration) (m measured, err error) {
		for m.took < length {
			batches := make([]*jetstream.RawBatch, max(1, 2000/size))
			for i := range batches {
				if batches[i], err = r.prepare(size); err != nil {
					return m, err
				}
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
	}, nil
}

func (r *rawBench) prepare(size int) (*jetstream.RawBatch, error) {
	records, err := sampleCharges(r.codec, r.position, size)
	r.position += uint64(size)
	return r.log.NewRawBatch(records), err
}

// sampleCharges are charges that follow a position.
func sampleCharges(codec *events.Codec, after uint64, count int) ([]events.Record, error) {
	records := make([]events.Record, count)
	for i := range records {
		var err error
		if records[i], err = sampleCharge(codec, after+uint64(i)+1); err != nil {
			return nil, err
		}
	}
	return records, nil
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

// projectors measures how fast a log is folded into each store.
func (b *bench) projectors(ctx context.Context, mongoURL string) error {
	return inFolder(func(folder string) error {
		raw, err := openRaw(ctx, filepath.Join(folder, "raw"))
		if err != nil {
			return err
		}
		defer raw.log.Close() //nolint:errcheck // it is thrown away
		total := uint64(60_000)
		if b.quick {
			total = 20_000
		}
		for after := uint64(0); after < total; after += jetstream.BatchMax {
			records, err := sampleCharges(raw.codec, after, jetstream.BatchMax)
			if err != nil {
				return err
			}
			if err := raw.log.Append(ctx, after, records); err != nil {
				return err
			}
		}
		if err := b.fold(ctx, "projector-sqlite", "", dataFolder{folder}, raw.log, total); err != nil {
			return fmt.Errorf("projector-sqlite: %w", err)
		}
		if mongoURL == "" {
			return nil
		}
		if err := b.fold(ctx, "projector-mongo", mongoURL, dataFolder{folder}, raw.log, total); err != nil {
			return fmt.Errorf("projector-mongo: %w", err)
		}
		return nil
	})
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
	if err := empty(ctx, store); err != nil {
		return err
	}
	p := projections.NewProjector(store, log, projections.Catalogue(), slog.New(slog.DiscardHandler))
	if err := p.Prepare(ctx); err != nil {
		return err
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
	return errors.Join(<-failed, empty(context.WithoutCancel(ctx), store))
}

// empty drops all that a store has.
func empty(ctx context.Context, store projections.Store) error {
	tables, err := store.Tables(ctx)
	for _, t := range tables {
		err = errors.Join(err, store.Drop(ctx, t.Name))
	}
	return err
}

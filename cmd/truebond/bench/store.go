package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/projections"
	"truebond/projections/sqlite"
)

// projectors measures how fast a log is folded into each store, and how fast the store
// takes the same documents when nothing has to be folded.
func (b *bench) projectors(ctx context.Context, mongoURL string) error {
	return inFolder(func(folder string) error {
		raw, err := openRaw(ctx, filepath.Join(folder, "raw"))
		if err != nil {
			return err
		}
		defer raw.log.Close() //nolint:errcheck // it is thrown away
		total := uint64(60_000)
		if b.Quick {
			total = 20_000
		}
		for after := uint64(0); after < total; after += events.BatchMax {
			records, err := sampleCharges(raw.codec, benchAccounts, after, events.BatchMax)
			if err != nil {
				return err
			}
			if err := raw.log.Append(ctx, after, records); err != nil {
				return err
			}
		}
		if err := b.store(ctx, "sqlite", "", datafolder.Folder{Path: folder}, raw.log, total); err != nil {
			return fmt.Errorf("SQLite: %w", err)
		}
		if mongoURL == "" {
			return nil
		}
		if err := b.store(ctx, "mongo", mongoURL, datafolder.Folder{Path: folder}, raw.log, total); err != nil {
			return fmt.Errorf("MongoDB: %w", err)
		}
		return nil
	})
}

// store measures one store. In the quick form there is a round of the projector alone.
func (b *bench) store(
	ctx context.Context, name, mongoURL string, folder datafolder.Folder, log *jetstream.Log, total uint64,
) error {
	store, err := server.OpenViews(ctx, mongoURL, folder)
	if err != nil {
		return err
	}
	defer store.Close(context.WithoutCancel(ctx))  //nolint:errcheck // it is thrown away
	defer empty(context.WithoutCancel(ctx), store) //nolint:errcheck // likewise
	rounds, batches := 1, []projections.Batch(nil)
	if !b.Quick {
		rounds = b.Rounds
		if batches, err = foldedAhead(ctx, folder, log, total); err != nil {
			return err
		}
	}
	var folded, written []measured
	for range rounds {
		p, err := emptyProjector(ctx, store, log)
		if err != nil {
			return err
		}
		m, err := fold(ctx, p, total)
		if err != nil {
			return err
		}
		folded = append(folded, m)
		if b.Quick {
			continue
		}
		if m, err = writeAll(ctx, store, log, batches); err != nil {
			return err
		}
		written = append(written, m)
	}
	b.add(row("projector-"+name, 1, folded))
	if !b.Quick {
		b.add(row("store-"+name, 1, written))
	}
	return nil
}

// fold measures the projector from the first event to the last. What a caller would wait
// is the time of a batch.
func fold(ctx context.Context, p *projections.Projector, total uint64) (m measured, err error) {
	ctx, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	begun := time.Now()
	go func() { failed <- p.Run(ctx) }()
	for at := uint64(0); at < total && err == nil; at = p.Position() {
		asked := time.Now()
		err = p.Wait(ctx, at+1)
		m.waits = append(m.waits, time.Since(asked))
	}
	m.events, m.took = int(total), time.Since(begun)
	stop()
	return m, errors.Join(err, <-failed)
}

// emptyProjector is a projector on a store with empty tables.
func emptyProjector(ctx context.Context, store projections.Store, log *jetstream.Log) (*projections.Projector, error) {
	if err := empty(ctx, store); err != nil {
		return nil, err
	}
	p := projections.NewProjector(store, log, projections.Catalogue(), slog.New(slog.DiscardHandler))
	return p, p.Prepare(ctx)
}

// foldedAhead are the batches that the projector makes of a log.
func foldedAhead(
	ctx context.Context, folder datafolder.Folder, log *jetstream.Log, total uint64,
) ([]projections.Batch, error) {
	store, err := sqlite.Open(folder.Join("ahead.db"))
	if err != nil {
		return nil, err
	}
	defer store.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
	keeps := &keepingStore{Store: store}
	p, err := emptyProjector(ctx, keeps, log)
	if err != nil {
		return nil, err
	}
	_, err = fold(ctx, p, total)
	return keeps.batches, err
}

// A keepingStore keeps what is written to it.
type keepingStore struct {
	projections.Store
	batches []projections.Batch
}

func (s *keepingStore) Write(ctx context.Context, batch projections.Batch) error {
	s.batches = append(s.batches, batch)
	return s.Store.Write(ctx, batch)
}

// writeAll measures how fast a store takes batches, one after the other.
func writeAll(
	ctx context.Context, store projections.Store, log *jetstream.Log, batches []projections.Batch,
) (m measured, err error) {
	if _, err := emptyProjector(ctx, store, log); err != nil { // for its tables
		return m, err
	}
	begun := time.Now()
	for _, batch := range batches {
		asked := time.Now()
		if err := store.Write(ctx, batch); err != nil {
			return m, err
		}
		m.waits = append(m.waits, time.Since(asked))
	}
	m.events, m.took = int(batches[len(batches)-1].To), time.Since(begun)
	return m, nil
}

// empty drops all that a store has.
func empty(ctx context.Context, store projections.Store) error {
	tables, err := store.Tables(ctx)
	for _, t := range tables {
		err = errors.Join(err, store.Drop(ctx, t.Name))
	}
	return err
}

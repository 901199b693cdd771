package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"truebond/commands"
	"truebond/commands/vault"
	"truebond/ledger"
	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/sqlite"
)

// openViews opens MongoDB, or SQLite in the data folder.
func openViews(ctx context.Context, mongoURL string, folder dataFolder) (projections.Store, error) {
	if mongoURL != "" {
		return mongo.Open(ctx, mongoURL)
	}
	return sqlite.Open(folder.join("views.db"))
}

// keyStore is a vault's store that can be asked how it is, and closed.
type keyStore interface {
	vault.Store
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// openKeys opens where keys are kept: a database of their own.
func openKeys(ctx context.Context, mongoURL string, folder dataFolder) (keyStore, error) {
	if mongoURL != "" {
		return vault.OpenMongo(ctx, mongoURL)
	}
	return vault.OpenSQLite(folder.join(vaultFile))
}

const redisAnswerMax = 2 * time.Second // for those who have no time of their own

// openRedis connects to Redis, or runs a stand-in in the process, which forgets all
// when it stops.
func openRedis(
	ctx context.Context, url string, onClose func(func(context.Context) error),
) (goredis.UniversalClient, error) {
	if url == "" {
		standIn, err := miniredis.Run()
		if err != nil {
			return nil, fmt.Errorf("start the stand-in for Redis: %w", err)
		}
		password := rand.Text()
		standIn.RequireAuth(password) // it listens on a port of this machine, which is open to all on it
		ticking, stop := context.WithCancel(context.WithoutCancel(ctx))
		go tick(ticking, standIn)
		onClose(func(context.Context) error {
			stop()
			standIn.Close()
			return nil
		})
		url = "redis://:" + password + "@" + standIn.Addr()
	}
	settings, err := goredis.ParseURL(url)
	if err != nil {
		return nil, errors.New("REDIS_URL is not a URL of Redis")
	}
	settings.ContextTimeoutEnabled = true // else who has half a second for it waits for many, when it is silent
	settings.DialTimeout = cmp.Or(settings.DialTimeout, redisAnswerMax)
	settings.ReadTimeout = cmp.Or(settings.ReadTimeout, redisAnswerMax)
	client := goredis.NewClient(settings)
	onClose(func(context.Context) error { return client.Close() })
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("connect to Redis: %w", err)
	}
	return client, nil
}

// tick makes time pass in the stand-in: its keys live by a clock that it is told.
func tick(ctx context.Context, standIn *miniredis.Miniredis) {
	const step = 100 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			standIn.FastForward(step)
		}
	}
}

// views are the stored documents as the writer, timers and the watch over calls see them.
type views struct {
	reader    *projections.Reader
	projector progress
}

// progress is how far the views are.
type progress interface {
	Position() uint64
	Wait(ctx context.Context, position uint64) error
}

// Stored is how far all views are.
func (v *views) Stored() uint64 { return v.projector.Position() }

// Wait returns once all views are at a position.
func (v *views) Wait(ctx context.Context, position uint64) error {
	return v.projector.Wait(ctx, position)
}

// Fetch finds the writer's documents.
func (v *views) Fetch(ctx context.Context, fold string, keys []string) (map[string]commands.StoredDocument, error) {
	docs, err := v.reader.Get(ctx, fold, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[string]commands.StoredDocument, len(docs))
	for _, d := range docs {
		found[d.ID] = commands.StoredDocument{Position: d.Position, Body: d.Body}
	}
	return found, nil
}

// Keys are the keys of a fold's documents, page by page.
func (v *views) Keys(ctx context.Context, fold, after string, max int) ([]string, error) {
	docs, err := v.reader.Find(ctx, fold, projections.Query{After: &projections.Cursor{ID: after}, Limit: max})
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(docs))
	for i, d := range docs {
		keys[i] = d.ID
	}
	return keys, nil
}

// APIKeyHash is the hash of the API key with an id; empty if there is none.
func (v *views) APIKeyHash(ctx context.Context, id string) (string, error) {
	found, err := v.reader.Find(ctx, ledger.APIKeys.Name,
		projections.Query{Index: projections.APIKeysByID, Equal: []any{id}, Limit: 1})
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].ID, nil
}

// DueUntil are timers that are due, the earliest first.
func (v *views) DueUntil(ctx context.Context, until time.Time, max int) ([]ledger.Timer, error) {
	return documents[ledger.Timer](ctx, v.reader, ledger.Timers.Name, projections.Query{
		Index: projections.TimersByDue, Range: projections.Range{Until: projections.Millis(until) + 1}, Limit: max,
	})
}

// Active are calls that are going on, after a position in the log.
func (v *views) Active(ctx context.Context, after uint64, max int) ([]ledger.Call, error) {
	return documents[ledger.Call](ctx, v.reader, ledger.Calls.Name, projections.Query{
		Index: projections.CallsActive, Equal: []any{true},
		Range: projections.Range{From: int64(after) + 1}, Limit: max,
	})
}

func documents[D any](ctx context.Context, r *projections.Reader, view string, q projections.Query) ([]D, error) {
	found, err := projections.FindAs[D](ctx, r, view, q)
	if err != nil {
		return nil, err
	}
	docs := make([]D, len(found))
	for i, f := range found {
		docs[i] = f.Doc
	}
	return docs, nil
}

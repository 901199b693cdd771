package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"truebond/cmd/truebond/datafolder"
	"truebond/commands/vault"
	"truebond/projections"
	"truebond/projections/mongo"
	"truebond/projections/sqlite"
)

// OpenViews opens MongoDB, or SQLite in the data folder.
func OpenViews(ctx context.Context, mongoURL string, folder datafolder.Folder) (projections.Store, error) {
	if mongoURL != "" {
		return mongo.Open(ctx, mongoURL)
	}
	return sqlite.Open(folder.Join(datafolder.ViewsFile))
}

// keyStore is a vault's store that can be asked how it is, and closed.
type keyStore interface {
	vault.Store
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// OpenKeys opens where keys are kept: a database of their own.
func OpenKeys(ctx context.Context, mongoURL string, folder datafolder.Folder) (keyStore, error) {
	if mongoURL != "" {
		return vault.OpenMongo(ctx, mongoURL)
	}
	return vault.OpenSQLite(folder.Join(datafolder.VaultFile))
}

// ReadKeys opens where keys are kept, to be read alone, while no server runs. In a data folder, nothing is changed.
func ReadKeys(ctx context.Context, mongoURL string, folder datafolder.Folder) (vault.ReadCloser, error) {
	if mongoURL != "" {
		return vault.OpenMongo(ctx, mongoURL)
	}
	return vault.ReadSQLite(folder.Join(datafolder.VaultFile))
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

package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Connect joins the log's servers with a connection of its own, so that a renewal never
// waits behind a batch of events. It is made again for ever when it is lost.
func Connect(ctx context.Context, urls string, logger *slog.Logger) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("truebond cluster"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(retryAfter),
		nats.ReconnectJitter(retryAfter, retryAfter),
		nats.ReconnectBufSize(-1), // what cannot be sent now is not sent late
		nats.Timeout(time.Second),
		nats.PingInterval(time.Second), // a server that is cut off is left after two of these
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("cluster: connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			logger.Info("cluster: connected again", "server", c.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("cluster: connection", "error", err)
		}),
	}
	for {
		conn, err := nats.Connect(urls, options...)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the cluster's servers: %w", err)
		case <-time.After(retryAfter):
		}
	}
}

// Package askagain asks a cluster of NATS servers so that an answer comes as soon as
// somebody can give one. A request that is sent while the servers choose a leader is lost
// without a word, and who waits for its answer sleeps on when the leader is there.
package askagain

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// Every is the time between two copies of a request. It is short beside the seconds that
// servers take to choose a leader, and long beside an answer.
const Every = 250 * time.Millisecond

// Request sends a request again and again until one of the copies is answered, or ctx ends.
// So it must be one that may be served twice. An answer that passing tells to be gone soon
// is none; nil: all count. An error is ctx's, with what was heard last, or the connection's.
func Request(ctx context.Context, conn *nats.Conn, request *nats.Msg, passing func(*nats.Msg) error) (
	*nats.Msg, error) {
	copied := *request
	copied.Reply = nats.NewInbox()
	sub, err := conn.SubscribeSync(copied.Reply)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // it fails only when it is gone already
	var heard error
	for ctx.Err() == nil {
		if err := conn.PublishMsg(&copied); err != nil {
			return nil, err
		}
		answer, err := hear(ctx, sub, passing, &heard)
		if answer != nil || err != nil {
			return answer, err
		}
	}
	return nil, errors.Join(context.Cause(ctx), heard)
}

// hear waits for an answer until it is time to ask again.
func hear(ctx context.Context, sub *nats.Subscription, passing func(*nats.Msg) error, heard *error) (
	*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, Every)
	defer cancel()
	for {
		answer, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil && answer == nil:
			return nil, nil
		case errors.Is(err, nats.ErrNoResponders):
			*heard = err
		case err != nil:
			return nil, err
		case passing == nil:
			return answer, nil
		default:
			if *heard = passing(answer); *heard == nil {
				return answer, nil
			}
		}
	}
}

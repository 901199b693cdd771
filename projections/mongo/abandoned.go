package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
)

// abandonedAfter is how long a transaction of ours that nobody goes on with may be in the
// way. One that is alive rests for milliseconds between two of its writes.
const abandonedAfter = 2 * time.Second

// endAbandoned ends transactions that a process of ours has left open when it was killed.
// MongoDB would keep their locks for a minute, since a transaction outlives the connection
// that it came over. A frozen process whose transaction is ended begins it again.
func (s *Store) endAbandoned(ctx context.Context) error {
	admin := s.client.Database("admin", options.Database().SetReadConcern(readconcern.Local()))
	found, err := admin.Aggregate(ctx, bson.A{
		bson.D{{Key: "$currentOp", Value: bson.D{{Key: "idleSessions", Value: true}}}},
		bson.D{{Key: "$match", Value: bson.D{
			{Key: "type", Value: "idleSession"}, {Key: "appName", Value: appName},
			{Key: "transaction.timeInactiveMicros", Value: bson.D{{Key: "$gt", Value: abandonedAfter.Microseconds()}}},
		}}},
	})
	if err != nil {
		return fmt.Errorf("look for abandoned transactions: %w", err)
	}
	var sessions []struct {
		ID struct {
			ID bson.RawValue `bson:"id"`
		} `bson:"lsid"`
	}
	if err := found.All(ctx, &sessions); err != nil {
		return fmt.Errorf("look for abandoned transactions: %w", err)
	}
	if len(sessions) == 0 {
		return nil
	}
	var ids bson.A
	for _, session := range sessions {
		ids = append(ids, bson.D{{Key: "id", Value: session.ID.ID}})
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "killSessions", Value: ids}}).Err(); err != nil {
		return fmt.Errorf("end abandoned transactions: %w", err)
	}
	return nil
}

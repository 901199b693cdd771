package mongo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
)

// appPrefix begins the name that processes which use a database have at the server.
func appPrefix(database string) string { return "truebond/" + database + "/" }

// abandonedAfter is how long a transaction that nobody goes on with may be in the way. One
// that is alive rests for milliseconds between two of its writes.
const abandonedAfter = 2 * time.Second

// TakeOver ends the transactions that other processes have open on the database, and what
// they hold. The server ends one of a process that was killed, paused or cut off by itself
// only after a minute, and nothing can be written until then. One that lives tries again.
func (s *Store) TakeOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.endOthers(ctx, 0)
}

// endOthers ends the transactions of other processes that have been idle for so long.
func (s *Store) endOthers(ctx context.Context, idle time.Duration) error {
	admin := s.client.Database("admin", options.Database().SetReadConcern(readconcern.Local()))
	cursor, err := admin.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$currentOp", Value: bson.D{{Key: "idleSessions", Value: true}}}},
		{{Key: "$match", Value: bson.D{{Key: "transaction", Value: bson.D{{Key: "$exists", Value: true}}}}}},
	})
	if err != nil {
		return fmt.Errorf("list the open transactions: %w", err)
	}
	var open []struct {
		AppName string `bson:"appName"`
		LSID    struct {
			ID primitive.Binary `bson:"id"`
		} `bson:"lsid"`
		Transaction struct {
			Inactive int64 `bson:"timeInactiveMicros"`
		} `bson:"transaction"`
	}
	if err := cursor.All(ctx, &open); err != nil {
		return fmt.Errorf("list the open transactions: %w", err)
	}
	sessions := bson.A{}
	for _, o := range open {
		ours := o.AppName == s.appName || !strings.HasPrefix(o.AppName, appPrefix(s.database.Name()))
		if !ours && o.Transaction.Inactive >= idle.Microseconds() {
			sessions = append(sessions, bson.D{{Key: "id", Value: o.LSID.ID}})
		}
	}
	if len(sessions) == 0 {
		return nil
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "killSessions", Value: sessions}}).Err(); err != nil {
		return fmt.Errorf("end the transactions of others: %w", err)
	}
	return nil
}

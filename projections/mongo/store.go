// Package mongo keeps the documents of views in MongoDB.
package mongo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"truebond/projections"
)

// A Store is a projections.Store in a database of MongoDB. It is safe for use by many
// goroutines and beside other processes.
//
// Each table is a collection; the collection `views` says which.
type Store struct {
	client   *mongo.Client
	appName  string // no other process's
	database *mongo.Database
	views    *mongo.Collection

	mu     sync.RWMutex
	tables map[string]table // those that are known to exist
}

var _ projections.Store = (*Store)(nil)

const (
	defaultDatabase = "truebond"
	connectionsMax  = 64

	// One that is cut off says nothing. What waits for it is ended after a heartbeat and two
	// connectTimeouts, and asked of the next primary.
	heartbeat      = time.Second
	connectTimeout = 2 * time.Second

	answerTimeout = 5 * time.Second  // for a server to be found, and to answer a ping
	readTimeout   = 20 * time.Second // a page is read in milliseconds
	writeTimeout  = 60 * time.Second // a batch is written in seconds; Mongo ends transactions after these
	indexTimeout  = 15 * time.Minute // an index of a table that is full
)

// Open connects to the database that the URL names, or to `truebond` when it names none.
// It fails if no server answers, and if the server is not in a replica set: others have
// no transactions.
func Open(ctx context.Context, url string) (*Store, error) {
	parsed, err := connstring.ParseAndValidate(url)
	if err != nil {
		return nil, fmt.Errorf("read the MongoDB URL: %w", err)
	}
	name := cmp.Or(parsed.Database, defaultDatabase)
	appName := appPrefix(name) + rand.Text()
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(url).
		SetAppName(appName).
		SetMaxPoolSize(connectionsMax).
		SetServerSelectionTimeout(answerTimeout).
		SetHeartbeatInterval(heartbeat).
		SetConnectTimeout(connectTimeout).
		SetSocketTimeout(indexTimeout). // the last resort: each call has its own time
		SetReadPreference(readpref.Primary()).
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: new(true)}))
	if err != nil {
		return nil, fmt.Errorf("connect to MongoDB: %w", err)
	}
	s := &Store{client: client, appName: appName, database: client.Database(name), tables: map[string]table{}}
	s.views = s.database.Collection("views")
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the views in MongoDB: %w", err), client.Disconnect(ctx))
	}
	return s, nil
}

// prepare makes what must be there before any table, and ends what a crash cut off.
func (s *Store) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var hello struct{ SetName string }
	if err := s.database.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return err
	}
	if hello.SetName == "" {
		return errors.New("the server is not in a replica set, so it has no transactions:" +
			" start mongod with --replSet and call rs.initiate(), also for a single one")
	}
	if err := s.createCollection(ctx, s.views.Name()); err != nil {
		return err
	}
	_, err := s.views.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "view", Value: 1}},
		Options: options.Index().SetName("one_live_table").SetUnique(true).
			SetPartialFilterExpression(bson.D{{Key: "live", Value: true}}),
	})
	if err != nil {
		return err
	}
	return s.sweep(ctx)
}

// createCollection makes a collection, if there is none. Transactions cannot.
func (s *Store) createCollection(ctx context.Context, name string) error {
	// The simple collation compares bytes.
	simple := options.CreateCollection().SetCollation(&options.Collation{Locale: "simple"})
	err := s.database.CreateCollection(ctx, name, simple)
	if hasCode(err, codeNamespaceExists) {
		return nil
	}
	return err
}

// Ping tells whether the primary answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := s.client.Ping(ctx, readpref.Primary()); err != nil {
		return fmt.Errorf("ping MongoDB: %w", err)
	}
	return nil
}

// Close ends all connections.
func (s *Store) Close(ctx context.Context) error {
	if err := s.client.Disconnect(ctx); err != nil {
		return fmt.Errorf("disconnect from MongoDB: %w", err)
	}
	return nil
}

// inTransaction tries again when another transaction is in the way, until ctx ends.
func (s *Store) inTransaction(ctx context.Context, do func(mongo.SessionContext) error) error {
	looked := time.Now()
	return s.client.UseSession(ctx, func(sc mongo.SessionContext) error {
		_, err := sc.WithTransaction(sc, func(sc mongo.SessionContext) (any, error) {
			if err := sc.Err(); err != nil {
				return nil, err // or the driver would try again after the time is up
			}
			if time.Since(looked) > abandonedAfter {
				looked = time.Now()
				_ = s.endOthers(ctx, abandonedAfter) // who may not look waits until MongoDB ends them by itself
			}
			return nil, do(sc)
		}, options.Transaction().SetReadConcern(readconcern.Snapshot()).SetMaxCommitTime(new(writeTimeout)))
		return err
	})
}

// What the server refuses with.
const (
	codeNamespaceExists     = 48
	codeSnapshotTooOld      = 239
	codeSnapshotUnavailable = 246
)

func hasCode(err error, codes ...int) bool {
	var refused mongo.ServerError
	return errors.As(err, &refused) && slices.ContainsFunc(codes, refused.HasErrorCode)
}

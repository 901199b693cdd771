package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

const (
	// mongoAnswerMax is how long a call may take, a change of the primary included.
	mongoAnswerMax = 20 * time.Second
	// One that is cut off says nothing. What waits for it is ended after a heartbeat and two
	// mongoConnectMaxs, and asked of the next primary.
	mongoHeartbeat  = time.Second
	mongoConnectMax = 2 * time.Second
	// mongoDatabase is the database's name when the URL has none, before mongoSuffix.
	mongoDatabase = "truebond"
	mongoSuffix   = "_vault"
	mongoRootID   = "root"
	mongoKeyID    = "key/"
	mongoKeyIDEnd = "key0" // just behind every id that begins with mongoKeyID
	// mongoStrictMax is how many documents are read strictly at a time. Each waits for a majority, and holds one
	// of the client's 100 connections meanwhile.
	mongoStrictMax = 16
)

// Mongo keeps the vault in a database of its own on a replica set.
type Mongo struct {
	client *mongo.Client
	sure   *mongo.Collection // reads what a majority has
	last   *mongo.Collection // reads what the primary has, a majority or not
	strict *mongo.Collection // reads one document, and waits until it is surely the last one
}

// mongoDocument is a key, a tombstone, or the root.
type mongoDocument struct {
	ID      string `bson:"_id"`
	Wrapped []byte `bson:"wrapped"`
	Erased  bool   `bson:"erased"`
	Record  []byte `bson:"record"`
}

// OpenMongo opens the database named as the URL's one with `_vault` behind it.
func OpenMongo(ctx context.Context, url string) (*Mongo, error) {
	parsed, err := connstring.ParseAndValidate(url)
	if err != nil { // which may hold a password
		return nil, errors.New("open the vault's database: MONGO_URL is no MongoDB address")
	}
	name := cmp.Or(parsed.Database, mongoDatabase) + mongoSuffix
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(url).SetTimeout(mongoAnswerMax).
		SetHeartbeatInterval(mongoHeartbeat).
		SetConnectTimeout(mongoConnectMax).
		SetReadPreference(readpref.Primary()).
		SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: new(true)}))
	if err != nil {
		return nil, fmt.Errorf("open the vault's database: %w", err)
	}
	if err := client.Ping(ctx, readpref.Primary()); err != nil {
		return nil, errors.Join(fmt.Errorf("open the vault's database: %w", err), client.Disconnect(ctx))
	}
	reading := func(concern *readconcern.ReadConcern) *mongo.Collection {
		return client.Database(name).
			Collection("keys", options.Collection().SetReadConcern(concern))
	}
	return &Mongo{
		client: client,
		sure:   reading(readconcern.Majority()),
		last:   reading(readconcern.Local()),
		strict: reading(readconcern.Linearizable()),
	}, nil
}

// Keys is Store's. A key that a majority lacks is not used yet: it could be rolled back.
func (m *Mongo) Keys(ctx context.Context, owners []string) (keys []Key, record []byte, err error) {
	ids := make([]string, 0, len(owners)+1)
	missing := make(map[string]bool, len(owners)+1)
	for _, owner := range owners {
		ids = append(ids, mongoKeyID+owner)
	}
	ids = append(ids, mongoRootID)
	for _, id := range ids {
		missing[id] = true
	}
	documents, err := m.find(ctx, m.sure, bson.M{"_id": bson.M{"$in": ids}})
	if err != nil {
		return nil, nil, err
	}
	for _, d := range documents {
		delete(missing, d.ID)
	}
	// A new primary may not know yet how far the majority is: what is not there is
	// looked for once more.
	late, err := m.readStrictly(ctx, slices.Collect(maps.Keys(missing)))
	if err != nil {
		return nil, nil, err
	}
	for _, d := range append(documents, late...) {
		if d.ID == mongoRootID {
			record = d.Record
		} else {
			keys = append(keys, d.key())
		}
	}
	return keys, record, nil
}

// readStrictly finds those of these documents that are there. Each is read for itself: MongoDB promises
// for no more than one that a read is surely of the last.
func (m *Mongo) readStrictly(ctx context.Context, ids []string) (found []mongoDocument, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := make(chan string, len(ids))
	for _, id := range ids {
		left <- id
	}
	close(left)
	var mu sync.Mutex // for what is returned
	var readers sync.WaitGroup
	for range min(len(ids), mongoStrictMax) {
		readers.Go(func() {
			for id := range left {
				var d mongoDocument
				one := m.strict.FindOne(ctx, bson.M{"_id": id}).Decode(&d)
				if errors.Is(one, mongo.ErrNoDocuments) {
					continue
				}
				mu.Lock()
				if one == nil {
					found = append(found, d)
				} else if err == nil {
					err = one
				}
				mu.Unlock()
				if one != nil {
					cancel() // the others need not go on
					return
				}
			}
		})
	}
	readers.Wait()
	return found, err
}

// AddKey is Store's.
func (m *Mongo) AddKey(ctx context.Context, owner string, wrapped []byte) error {
	_, err := m.sure.UpdateOne(ctx, bson.M{"_id": mongoKeyID + owner},
		bson.M{"$setOnInsert": bson.M{"wrapped": wrapped}}, options.Update().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) {
		return nil // somebody else's came first
	}
	return err
}

// Destroy is Store's. The server's journal, log of operations and free pages keep the
// old bytes until it uses that room again.
func (m *Mongo) Destroy(ctx context.Context, owner string) error {
	tombstone := bson.M{"$set": bson.M{"erased": true}, "$unset": bson.M{"wrapped": ""}}
	destroy := func() error {
		_, err := m.sure.UpdateOne(ctx, bson.M{"_id": mongoKeyID + owner}, tombstone,
			options.Update().SetUpsert(true))
		return err
	}
	err := destroy()
	if mongo.IsDuplicateKeyError(err) { // another one put it just now; it is there
		err = destroy()
	}
	return err
}

// SwapRoot is Store's.
func (m *Mongo) SwapRoot(ctx context.Context, old, after []byte) (bool, error) {
	if old == nil {
		_, err := m.sure.InsertOne(ctx, bson.M{"_id": mongoRootID, "record": after})
		if mongo.IsDuplicateKeyError(err) {
			return false, nil
		}
		return err == nil, err
	}
	result, err := m.sure.UpdateOne(ctx, bson.M{"_id": mongoRootID, "record": old},
		bson.M{"$set": bson.M{"record": after}})
	if err != nil {
		return false, err
	}
	return result.MatchedCount == 1, nil
}

// Page is Store's. It reads what the primary has: a key that it left out would be lost
// in a rotation.
func (m *Mongo) Page(ctx context.Context, after string, limit int) ([]Key, error) {
	documents, err := m.find(ctx, m.last, bson.M{
		"_id":    bson.M{"$gt": mongoKeyID + after, "$lt": mongoKeyIDEnd},
		"erased": bson.M{"$ne": true},
	}, options.Find().SetSort(bson.M{"_id": 1}).SetLimit(int64(limit)))
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(documents))
	for i, d := range documents {
		keys[i] = d.key()
	}
	return keys, nil
}

// Rewrap is Store's.
func (m *Mongo) Rewrap(ctx context.Context, changes []Rewrap) error {
	writes := make([]mongo.WriteModel, len(changes))
	for i, c := range changes {
		writes[i] = mongo.NewUpdateOneModel().
			SetFilter(bson.M{"_id": mongoKeyID + c.Owner, "wrapped": c.Old}).
			SetUpdate(bson.M{"$set": bson.M{"wrapped": c.New}})
	}
	_, err := m.sure.BulkWrite(ctx, writes, options.BulkWrite().SetOrdered(false))
	return err
}

// Ping tells whether the database answers.
func (m *Mongo) Ping(ctx context.Context) error { return m.client.Ping(ctx, readpref.Primary()) }

// Close ends the connections.
func (m *Mongo) Close(ctx context.Context) error { return m.client.Disconnect(ctx) }

func (m *Mongo) find(ctx context.Context, in *mongo.Collection, filter bson.M, opts ...*options.FindOptions,
) ([]mongoDocument, error) {
	cursor, err := in.Find(ctx, filter, opts...)
	if err != nil {
		return nil, err
	}
	var documents []mongoDocument
	err = cursor.All(ctx, &documents)
	return documents, err
}

func (d mongoDocument) key() Key {
	k := Key{Owner: strings.TrimPrefix(d.ID, mongoKeyID), Erased: d.Erased}
	if !d.Erased {
		k.Wrapped = d.Wrapped
	}
	return k
}

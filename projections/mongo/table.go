package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"truebond/projections"
)

// A table is what the collection `views` says of one.
type table struct {
	Name    string  `bson:"_id"`
	View    string  `bson:"view"`
	Version int     `bson:"version"`
	Indexes []index `bson:"indexes"`
	// Collection is where the documents are. Each has a name of its own for ever, so that
	// nobody who is late drops or changes another table of the same name.
	Collection string `bson:"collection"`
	Dropped    bool   `bson:"dropped"` // it is gone, and its collection is to be
	Live       bool   `bson:"live"`
	Position   int64  `bson:"position"`
	Hash       []byte `bson:"hash"`
}

type index struct {
	Name   string   `bson:"name"`
	Fields []string `bson:"fields"`
	Each   bool     `bson:"each"`
}

func (t table) plain() projections.Table {
	plain := projections.Table{Name: t.Name, View: t.View, Version: t.Version}
	for _, x := range t.Indexes {
		plain.Indexes = append(plain.Indexes, projections.Index(x))
	}
	return plain
}

// Create makes a table with its indexes, or gives one that exists those that it lacks.
func (s *Store) Create(ctx context.Context, t projections.Table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("create a table: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	err := s.create(ctx, t)
	if mongo.IsDuplicateKeyError(err) { // somebody else has made it meanwhile
		err = s.create(ctx, t)
	}
	if err != nil {
		return fmt.Errorf("create table %s: %w", t.Name, err)
	}
	s.forget(t.Name) // its indexes may have changed
	return nil
}

func (s *Store) create(ctx context.Context, wanted projections.Table) error {
	if err := s.sweep(ctx); err != nil {
		return err
	}
	has, err := s.look(ctx, wanted.Name)
	isNew := errors.Is(err, projections.ErrNoTable)
	if isNew {
		has = table{
			Name: wanted.Name, View: wanted.View, Version: wanted.Version, Indexes: []index{},
			Collection: "view." + wanted.Name + "." + primitive.NewObjectID().Hex(),
		}
		err = s.createCollection(ctx, has.Collection)
	}
	if err != nil {
		return err
	}
	lacking, err := has.plain().Lacking(wanted.Indexes)
	if err != nil {
		return err
	}
	for _, x := range lacking {
		if err := s.createIndex(ctx, has.Collection, x); err != nil {
			return fmt.Errorf("index %s: %w", x.Name, err)
		}
		has.Indexes = append(has.Indexes, index(x))
	}
	// Only now does the table exist; before, its collection is found by nobody.
	if isNew {
		_, err = s.views.InsertOne(ctx, has)
	} else if len(lacking) > 0 {
		_, err = s.views.UpdateOne(ctx,
			bson.D{{Key: "_id", Value: has.Name}, {Key: "collection", Value: has.Collection}},
			set(bson.E{Key: "indexes", Value: has.Indexes}))
	}
	return err
}

func (s *Store) createIndex(ctx context.Context, collection string, x projections.Index) error {
	var keys bson.D
	for _, f := range x.Fields {
		keys = append(keys, bson.E{Key: docField + f, Value: 1})
	}
	keys = append(keys, bson.E{Key: "_id", Value: 1})
	_, err := s.database.Collection(collection).Indexes().CreateOne(ctx,
		mongo.IndexModel{Keys: keys, Options: options.Index().SetName(x.Name)})
	return err
}

func set(fields ...bson.E) bson.D { return bson.D{{Key: "$set", Value: bson.D(fields)}} }

// Tables are all tables, and how far each is. Those that are gone are read no more from then on, also
// where their collections could not be dropped: another table may be further by now.
func (s *Store) Tables(ctx context.Context) ([]projections.Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var found []table
	cursor, err := s.views.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err == nil {
		err = cursor.All(ctx, &found)
	}
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	all := make([]projections.Progress, 0, len(found))
	for _, t := range found {
		if t.Dropped {
			s.forget(t.Name)
			continue
		}
		all = append(all, projections.Progress{Table: t.plain(), Live: t.Live, Position: uint64(t.Position), Hash: t.Hash})
	}
	return all, nil
}

// GoLive makes a table the one that its view is read from.
func (s *Store) GoLive(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := s.inTransaction(ctx, func(sc mongo.SessionContext) error {
		t, err := s.look(sc, name)
		if err != nil {
			return err
		}
		// The one before, first: a view has one live table at any time.
		_, err = s.views.UpdateMany(sc, bson.D{
			{Key: "view", Value: t.View}, {Key: "live", Value: true},
			{Key: "_id", Value: bson.D{{Key: "$ne", Value: name}}},
		}, set(bson.E{Key: "live", Value: false}, bson.E{Key: "dropped", Value: true}))
		if err != nil {
			return err
		}
		_, err = s.views.UpdateOne(sc, bson.D{{Key: "_id", Value: name}}, set(bson.E{Key: "live", Value: true}))
		return err
	})
	if err == nil {
		err = s.sweep(ctx)
	}
	if err != nil {
		return fmt.Errorf("let table %s go live: %w", name, err)
	}
	return nil
}

// Drop deletes a table, if it exists.
func (s *Store) Drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := s.views.UpdateOne(ctx, bson.D{{Key: "_id", Value: name}},
		set(bson.E{Key: "live", Value: false}, bson.E{Key: "dropped", Value: true}))
	if err == nil {
		err = s.sweep(ctx)
	}
	if err != nil {
		return fmt.Errorf("drop table %s: %w", name, err)
	}
	return nil
}

// sweep drops the collections of tables that are gone. A transaction cannot, so a crash
// may leave some, and whoever comes next sweeps them.
func (s *Store) sweep(ctx context.Context) error {
	var gone []table
	cursor, err := s.views.Find(ctx, bson.D{{Key: "dropped", Value: true}})
	if err == nil {
		err = cursor.All(ctx, &gone)
	}
	if err != nil {
		return err
	}
	for _, t := range gone {
		s.forget(t.Name)
		if err := s.database.Collection(t.Collection).Drop(ctx); err != nil {
			return fmt.Errorf("drop what is left of table %s: %w", t.Name, err)
		}
		_, err := s.views.DeleteOne(ctx,
			bson.D{{Key: "_id", Value: t.Name}, {Key: "collection", Value: t.Collection}})
		if err != nil {
			return fmt.Errorf("drop what is left of table %s: %w", t.Name, err)
		}
	}
	return nil
}

// look is a table as the server has it.
func (s *Store) look(ctx context.Context, name string) (table, error) {
	var t table
	err := s.views.FindOne(ctx, bson.D{{Key: "_id", Value: name}, {Key: "dropped", Value: false}}).Decode(&t)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = projections.ErrNoTable
	}
	return t, err
}

// known is a table as it was last seen, which is enough for its indexes and collection.
func (s *Store) known(ctx context.Context, name string) (table, error) {
	s.mu.RLock()
	t, known := s.tables[name]
	s.mu.RUnlock()
	if known {
		return t, nil
	}
	t, err := s.look(ctx, name)
	if err == nil {
		s.mu.Lock()
		s.tables[name] = t
		s.mu.Unlock()
	}
	return t, err
}

func (s *Store) forget(name string) {
	s.mu.Lock()
	delete(s.tables, name)
	s.mu.Unlock()
}

// errChanged says that a table is not, or no longer, what was known of it.
var errChanged = errors.New("the table was made anew")

// confirm tells whether a table is still the one that was known. Otherwise it is
// forgotten.
func (s *Store) confirm(ctx context.Context, t table) error {
	now, err := s.look(ctx, t.Name)
	if err == nil && now.Collection != t.Collection {
		err = errChanged
	}
	if err != nil {
		s.forget(t.Name)
	}
	return err
}

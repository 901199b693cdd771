package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"truebond/projections"
)

// Write stores a batch in one transaction. The tables' positions come first: two writers
// meet there, and one of them begins again and finds that they have moved.
func (s *Store) Write(ctx context.Context, batch projections.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := batch.Check()
	if err == nil {
		err = s.write(ctx, batch)
	}
	if errors.Is(err, errChanged) { // and nothing is written
		err = s.write(ctx, batch)
	}
	if err != nil {
		return fmt.Errorf("write events %d to %d: %w", batch.From+1, batch.To, err)
	}
	return nil
}

func (s *Store) write(ctx context.Context, batch projections.Batch) error {
	tables := make([]table, len(batch.Tables))
	models := map[string]*changes{}
	for i, name := range batch.Tables {
		t, err := s.known(ctx, name)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		tables[i] = t
		models[name] = &changes{}
	}
	for _, w := range batch.Writes {
		if err := models[w.Table].add(w.Document); err != nil {
			return fmt.Errorf("document %q of table %s: %w", w.ID, w.Table, err)
		}
	}
	err := s.inTransaction(ctx, func(sc mongo.SessionContext) error {
		if err := s.move(sc, tables, batch); err != nil {
			return err
		}
		for _, t := range tables {
			if err := models[t.Name].write(sc, s.database.Collection(t.Collection)); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		return nil
	})
	if errors.Is(err, projections.ErrMoved) {
		return s.why(ctx, tables, batch.From)
	}
	return err
}

// move takes all tables from where the batch begins to where it ends.
func (s *Store) move(sc mongo.SessionContext, tables []table, batch projections.Batch) error {
	var each bson.A
	for _, t := range tables {
		each = append(each, bson.D{{Key: "_id", Value: t.Name}, {Key: "collection", Value: t.Collection}})
	}
	moved, err := s.views.UpdateMany(sc, bson.D{
		{Key: "$or", Value: each}, {Key: "dropped", Value: false}, {Key: "position", Value: int64(batch.From)},
	}, set(bson.E{Key: "position", Value: int64(batch.To)}, bson.E{Key: "hash", Value: batch.Hash}))
	if err != nil {
		return fmt.Errorf("move the tables: %w", err)
	}
	if moved.MatchedCount != int64(len(tables)) {
		return projections.ErrMoved
	}
	return nil
}

// why tells what keeps tables from being moved.
func (s *Store) why(ctx context.Context, tables []table, from uint64) error {
	for _, t := range tables {
		if err := s.confirm(ctx, t); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	for _, t := range tables {
		now, err := s.look(ctx, t.Name)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
		if now.Position != int64(from) {
			return fmt.Errorf("table %s: %w: %d and %d", t.Name, projections.ErrMoved, now.Position, from)
		}
	}
	return projections.ErrMoved
}

// changes are what a batch changes in one collection.
type changes struct {
	ids  []string   // of the documents put
	docs []bson.Raw // these
	gone []string   // ids of those deleted
}

func (c *changes) add(d projections.Document) error {
	if d.Body == nil {
		c.gone = append(c.gone, d.ID)
		return nil
	}
	doc, err := toBSON(d)
	c.ids, c.docs = append(c.ids, d.ID), append(c.docs, doc)
	return err
}

// write asks first which documents there are: inserting those that are not takes the
// server half as long as replacing them.
func (c *changes) write(sc mongo.SessionContext, to *mongo.Collection) error {
	there := map[string]bool{}
	for part := range slices.Chunk(c.ids, idsAtOnce) {
		cursor, err := to.Find(sc, byIDs(part), options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}).
			SetHint("_id_").SetBatchSize(int32(len(part))))
		if err != nil {
			return err
		}
		for cursor.Next(sc) {
			there[cursor.Current.Lookup("_id").StringValue()] = true
		}
		if err := errors.Join(cursor.Err(), cursor.Close(sc)); err != nil {
			return err
		}
	}
	var added []any
	var changed []mongo.WriteModel
	for i, id := range c.ids {
		if there[id] {
			changed = append(changed, mongo.NewReplaceOneModel().
				SetFilter(bson.D{{Key: "_id", Value: id}}).SetReplacement(c.docs[i]))
		} else {
			added = append(added, c.docs[i])
		}
	}
	if len(added) > 0 {
		if _, err := to.InsertMany(sc, added, options.InsertMany().SetOrdered(false)); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(c.gone, idsAtOnce) {
		if _, err := to.DeleteMany(sc, byIDs(part)); err != nil {
			return err
		}
	}
	if len(changed) > 0 {
		if _, err := to.BulkWrite(sc, changed, options.BulkWrite().SetOrdered(false)); err != nil {
			return err
		}
	}
	return nil
}

func byIDs(ids []string) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}

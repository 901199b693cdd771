package mongo

import (
	"context"
	"errors"
	"fmt"

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
	models := map[string][]mongo.WriteModel{}
	for i, name := range batch.Tables {
		t, err := s.known(ctx, name)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		tables[i] = t
	}
	for _, w := range batch.Writes {
		m, err := model(w.Document)
		if err != nil {
			return fmt.Errorf("document %q of table %s: %w", w.ID, w.Table, err)
		}
		models[w.Table] = append(models[w.Table], m)
	}
	err := s.inTransaction(ctx, func(sc mongo.SessionContext) error {
		if err := s.move(sc, tables, batch); err != nil {
			return err
		}
		for _, t := range tables {
			if len(models[t.Name]) == 0 {
				continue
			}
			_, err := s.database.Collection(t.Collection).
				BulkWrite(sc, models[t.Name], options.BulkWrite().SetOrdered(false))
			if err != nil {
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

// model is how a document is written.
func model(d projections.Document) (mongo.WriteModel, error) {
	byID := bson.D{{Key: "_id", Value: d.ID}}
	if d.Body == nil {
		return mongo.NewDeleteOneModel().SetFilter(byID), nil
	}
	doc, err := toBSON(d)
	if err != nil {
		return nil, err
	}
	return mongo.NewReplaceOneModel().SetFilter(byID).SetReplacement(doc).SetUpsert(true), nil
}

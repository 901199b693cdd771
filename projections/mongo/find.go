package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"truebond/projections"
)

const (
	idsAtOnce     = 10_000                // in one question; each may be a kilobyte
	snapshotPause = 10 * time.Millisecond // until a table that was just made can be read
)

// Get finds documents by id.
func (s *Store) Get(ctx context.Context, name string, ids []string) ([]projections.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	possible := projections.ValidIDs(ids)
	slices.Sort(possible)
	possible = slices.Compact(possible)
	docs, err := s.read(ctx, name, func(table) (asked []question, enough int, err error) {
		for part := range slices.Chunk(possible, idsAtOnce) {
			asked = append(asked, question{
				filter: byIDs(part), sort: bson.D{{Key: "_id", Value: 1}}, hint: "_id_", limit: len(part),
			})
		}
		return asked, max(1, len(possible)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("get %d documents of table %s: %w", len(ids), name, err)
	}
	return docs, nil
}

// Find finds documents by an index.
func (s *Store) Find(ctx context.Context, name string, q projections.Query) ([]projections.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	docs, err := s.read(ctx, name, func(t table) (asked []question, enough int, err error) {
		x, err := q.Check(t.plain())
		if err != nil {
			return nil, 0, err
		}
		return questions(x, q), q.Limit, nil
	})
	if err != nil {
		return nil, fmt.Errorf("find documents of table %s by index %q: %w", name, q.Index, err)
	}
	return docs, nil
}

// A question is one interval of one index, in its order.
type question struct {
	filter bson.D
	sort   bson.D
	hint   string
	limit  int
}

// questions are what a query comes to. Without a cursor it is one interval of the index.
// What comes behind a cursor is several: first what has the same values and a greater
// id, then what has the same values but a greater last one, and so on.
func questions(x projections.Index, q projections.Query) []question {
	columns := make([]string, 0, len(x.Fields)+1)
	for _, f := range x.Fields {
		columns = append(columns, docField+f)
	}
	columns = append(columns, "_id")
	fixed, free := columns[:len(q.Equal)], columns[len(q.Equal):]

	var common conditions
	for i, c := range fixed {
		common.add(c, "$eq", q.Equal[i])
	}
	if q.Range.From != nil {
		common.add(free[0], "$gte", q.Range.From)
	}
	if q.Range.Until != nil {
		common.add(free[0], "$lt", q.Range.Until)
	}
	base := question{hint: x.Name, limit: q.Limit}
	if x.Name == "" {
		base.hint = "_id_"
	}
	direction, behind := 1, "$gt"
	if q.Desc {
		direction, behind = -1, "$lt"
	}
	for _, c := range free {
		base.sort = append(base.sort, bson.E{Key: c, Value: direction})
	}
	ask := func(c conditions) question {
		for _, column := range free[:len(free)-1] {
			c.addPresent(column)
		}
		asked := base
		asked.filter = c.filter()
		return asked
	}
	if q.After == nil {
		return []question{ask(common)}
	}
	var asked []question
	values := append(slices.Clone(q.After.Values), any(q.After.ID))
	for same := len(free) - 1; same >= 0; same-- {
		c := slices.Clone(common)
		for i := range same {
			c.add(free[i], "$eq", values[i])
		}
		c.add(free[same], behind, values[same])
		asked = append(asked, ask(c))
	}
	return asked
}

// conditions all hold.
type conditions []bson.D

func (c *conditions) add(column, operator string, value any) {
	*c = append(*c, bson.D{{Key: column, Value: bson.D{{Key: operator, Value: value}}}})
}

// addPresent leaves out documents that lack a field. Any other condition does so already.
func (c *conditions) addPresent(column string) {
	if !slices.ContainsFunc(*c, func(d bson.D) bool { return d[0].Key == column }) {
		c.add(column, "$ne", nil)
	}
}

func (c conditions) filter() bson.D {
	if len(c) == 0 {
		return bson.D{}
	}
	return bson.D{{Key: "$and", Value: []bson.D(c)}}
}

// read gives the documents that questions find, as they all were at one moment. When they
// are fewer than would be enough, the table is looked after: Mongo finds nothing in a
// collection that does not exist.
func (s *Store) read(
	ctx context.Context, name string, plan func(table) (asked []question, enough int, err error),
) ([]projections.Document, error) {
	for {
		t, err := s.known(ctx, name)
		if err != nil {
			return nil, err
		}
		var docs []projections.Document
		asked, enough, err := plan(t)
		if err == nil {
			docs, err = s.ask(ctx, t.Collection, asked, enough)
		}
		if err == nil && len(docs) >= enough {
			return docs, nil
		}
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		now, gone := s.look(ctx, name)
		if gone != nil {
			s.forget(name)
			return nil, gone
		}
		if now.Collection == t.Collection && len(now.Indexes) == len(t.Indexes) {
			return docs, err
		}
		s.forget(name) // another process has made it anew, or an index of it
	}
}

// ask asks one question after the other until it has enough, all of one snapshot of what
// a majority has. What was written before by anybody, and acknowledged, is in it.
func (s *Store) ask(
	ctx context.Context, collection string, asked []question, enough int,
) (docs []projections.Document, err error) {
	for {
		err = s.client.UseSessionWithOptions(ctx, options.Session().SetSnapshot(true),
			func(sc mongo.SessionContext) error {
				docs = nil
				for _, q := range asked {
					if q.limit = min(q.limit, enough-len(docs)); q.limit == 0 {
						break
					}
					found, err := s.askOne(sc, collection, q)
					if err != nil {
						return err
					}
					docs = append(docs, found...)
				}
				return nil
			})
		if !hasCode(err, codeSnapshotUnavailable, codeSnapshotTooOld) {
			return docs, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(snapshotPause):
		}
	}
}

func (s *Store) askOne(
	sc mongo.SessionContext, collection string, q question,
) ([]projections.Document, error) {
	cursor, err := s.database.Collection(collection).Find(sc, q.filter, options.Find().SetSort(q.sort).
		SetHint(q.hint).SetLimit(int64(q.limit)).SetBatchSize(int32(q.limit)).SetMaxTime(readTimeout))
	if err != nil {
		return nil, err
	}
	defer cursor.Close(sc) //nolint:errcheck // Err tells
	var docs []projections.Document
	for cursor.Next(sc) {
		d, err := fromBSON(cursor.Current)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, cursor.Err()
}

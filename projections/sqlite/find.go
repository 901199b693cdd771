package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"truebond/projections"
)

// Get finds documents by id.
func (s *Store) Get(ctx context.Context, table string, ids []string) ([]projections.Document, error) {
	docs, err := s.get(ctx, table, ids)
	if err != nil {
		return nil, fmt.Errorf("get %d documents of table %s: %w", len(ids), table, err)
	}
	return docs, nil
}

func (s *Store) get(ctx context.Context, table string, ids []string) ([]projections.Document, error) {
	if _, err := s.table(ctx, table); err != nil {
		return nil, err
	}
	possible := projections.ValidIDs(ids)
	query := "SELECT id, position, body FROM " + docsName(table) + " WHERE id "
	if len(possible) == 1 {
		return s.read(ctx, table, query+"= ?", possible[0])
	}
	list, err := json.Marshal(possible)
	if err != nil {
		return nil, err
	}
	return s.read(ctx, table, query+"IN (SELECT value FROM json_each(?)) ORDER BY id", string(list))
}

// Find finds documents by an index.
func (s *Store) Find(ctx context.Context, table string, q projections.Query) ([]projections.Document, error) {
	docs, err := s.find(ctx, table, q)
	if err != nil {
		return nil, fmt.Errorf("find documents of table %s by index %q: %w", table, q.Index, err)
	}
	return docs, nil
}

func (s *Store) find(ctx context.Context, table string, q projections.Query) ([]projections.Document, error) {
	t, err := s.table(ctx, table)
	if err != nil {
		return nil, err
	}
	x, err := q.Check(t)
	if err != nil {
		// Maybe another process has made the index since.
		s.know(table, nil)
		if t, err = s.table(ctx, table); err != nil {
			return nil, err
		}
		if x, err = q.Check(t); err != nil {
			return nil, err
		}
	}
	query, args := findQuery(table, x, q)
	return s.read(ctx, table, query, args...)
}

// findQuery is the statement for a query. What is in it as text are names that were
// checked when the table was made; all values are arguments.
func findQuery(table string, x projections.Index, q projections.Query) (query string, args []any) {
	q = narrowed(q)
	source, entry := docsName(table)+" AS doc", "doc."
	switch {
	case x.Each:
		// CROSS JOIN: the entries first, in their order, each then with its document.
		source = eachName(table, x.Name) + " AS entry CROSS JOIN " + source + " ON doc.id = entry.id"
		entry = "entry."
	case x.Name != "":
		source += " INDEXED BY " + indexName(table, x.Name)
	}
	columns := append(columnNames(x.Fields), "id")
	for i, c := range columns {
		columns[i] = entry + c
	}
	var where []string
	condition := func(text string, values ...any) {
		where = append(where, text)
		args = append(args, values...)
	}
	for _, c := range columns[:len(x.Fields)] {
		condition(c + " IS NOT NULL")
	}
	for i, v := range q.Equal {
		condition(columns[i]+" = ?", v)
	}
	free := columns[len(q.Equal):]
	if q.Range.From != nil {
		condition(free[0]+" >= ?", q.Range.From)
	}
	if q.Range.Until != nil {
		condition(free[0]+" < ?", q.Range.Until)
	}
	behind, order := ">", ""
	if q.Desc {
		behind, order = "<", " DESC"
	}
	if q.After != nil {
		marks := strings.Repeat("?, ", len(free)-1) + "?"
		values := append(slices.Clone(q.After.Values), any(q.After.ID))
		condition("("+strings.Join(free, ", ")+") "+behind+" ("+marks+")", values...)
	}
	query = "SELECT doc.id, doc.position, doc.body FROM " + source
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY " + strings.Join(free, order+", ") + order + " LIMIT ?"
	return query, append(args, q.Limit)
}

// narrowed leaves out a bound that the cursor is within, or else the cursor: SQLite begins
// at one of the two, maybe the wrong one, and walks to the other.
func narrowed(q projections.Query) projections.Query {
	if q.After == nil {
		return q
	}
	first := any(q.After.ID)
	if len(q.After.Values) > 0 {
		first = q.After.Values[0]
	}
	bound := &q.Range.From
	if q.Desc {
		bound = &q.Range.Until
	}
	order, ok := compare(first, *bound)
	switch {
	case !ok: // no bound, or of another type
	case (order < 0) == q.Desc:
		*bound = nil
	default:
		q.After = nil
	}
	return q
}

// compare orders two values of one type.
func compare(a, b any) (order int, ok bool) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return cmp.Compare(a, b), ok
	case int64:
		b, ok := b.(int64)
		return cmp.Compare(a, b), ok
	}
	return 0, false
}

// read gives the documents that a query selects, as they were at one moment.
func (s *Store) read(ctx context.Context, table, query string, args ...any) ([]projections.Document, error) {
	stmt, err := s.reader.prepare(ctx, table, query)
	if err != nil {
		return nil, s.explain(ctx, table, err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, s.explain(ctx, table, err)
	}
	docs, err := scan(rows)
	if err != nil {
		return nil, s.explain(ctx, table, err)
	}
	return docs, nil
}

func scan(rows *sql.Rows) ([]projections.Document, error) {
	defer rows.Close() //nolint:errcheck // Err tells
	var docs []projections.Document
	for rows.Next() {
		var d projections.Document
		if err := rows.Scan(&d.ID, &d.Position, &d.Body); err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, rows.Err()
}

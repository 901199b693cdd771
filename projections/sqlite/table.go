package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"truebond/projections"
)

// Names in the file. The dot keeps them apart: no name of ours has one.
func docsName(table string) string         { return `"docs.` + table + `"` }
func indexName(table, index string) string { return `"index.` + table + `.` + index + `"` }
func eachName(table, index string) string  { return `"each.` + table + `.` + index + `"` }
func columnName(field string) string       { return `"field.` + field + `"` }

// Create makes a table with its indexes, or gives one that exists those that it lacks.
func (s *Store) Create(ctx context.Context, t projections.Table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("create a table: %w", err)
	}
	err := s.inTransaction(ctx, func(tx *sql.Tx) error { return create(ctx, tx, t) })
	if err != nil {
		return fmt.Errorf("create table %s: %w", t.Name, err)
	}
	s.know(t.Name, nil) // its indexes may have changed
	return nil
}

func create(ctx context.Context, tx *sql.Tx, wanted projections.Table) error {
	has, err := tableIn(ctx, tx, wanted.Name)
	if errors.Is(err, projections.ErrNoTable) {
		has = projections.Table{Name: wanted.Name}
		err = createEmpty(ctx, tx, wanted)
	}
	if err != nil {
		return err
	}
	lacking, err := has.Lacking(wanted.Indexes)
	if err != nil || len(lacking) == 0 {
		return err
	}
	for _, x := range lacking {
		if err := createIndex(ctx, tx, has, x); err != nil {
			return fmt.Errorf("index %s: %w", x.Name, err)
		}
		has.Indexes = append(has.Indexes, x)
	}
	indexes, err := json.Marshal(has.Indexes)
	if err != nil {
		return err
	}
	return run(ctx, tx, "UPDATE tables SET indexes = ? WHERE name = ?", string(indexes), wanted.Name)
}

func createEmpty(ctx context.Context, tx *sql.Tx, t projections.Table) error {
	if err := run(ctx, tx, "CREATE TABLE "+docsName(t.Name)+
		" (id TEXT PRIMARY KEY NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL)"); err != nil {
		return err
	}
	return run(ctx, tx, "INSERT INTO tables (name, view, version, indexes) VALUES (?, ?, ?, 'null')",
		t.Name, t.View, t.Version)
}

// createIndex makes an index of a table that has some already. Fields are columns that
// are worked out from the JSON: they take no room of their own.
func createIndex(ctx context.Context, tx *sql.Tx, t projections.Table, x projections.Index) error {
	for _, field := range x.Fields {
		if slices.ContainsFunc(t.Indexes, func(has projections.Index) bool {
			return slices.Contains(has.Fields, field)
		}) {
			continue
		}
		if err := run(ctx, tx, fmt.Sprintf(`ALTER TABLE %s ADD COLUMN %s AS (json_extract(body, '$.%s')) VIRTUAL`,
			docsName(t.Name), columnName(field), field)); err != nil {
			return err
		}
	}
	if x.Each {
		return createEach(ctx, tx, t.Name, x)
	}
	columns := columnNames(x.Fields)
	return run(ctx, tx, fmt.Sprintf("CREATE INDEX %s ON %s (%s, id) WHERE %s",
		indexName(t.Name, x.Name), docsName(t.Name), strings.Join(columns, ", "), allPresent(columns)))
}

// createEach makes an index by the elements of an array: a table of its own, which
// triggers keep. It lists each element once for a document.
func createEach(ctx context.Context, tx *sql.Tx, table string, x projections.Index) error {
	var (
		each    = eachName(table, x.Name)
		docs    = docsName(table)
		columns = columnNames(x.Fields)
		listed  = strings.Join(columns, ", ")
		trigger = func(event string) string { return strings.TrimSuffix(each, `"`) + "." + event + `"` }
	)
	// entries of the rows of from, which is called row; json_each gives an element as its atom.
	entries := func(row, from string) string {
		values := append([]string{"element.atom"}, prefixed(row, columns[1:])...)
		return fmt.Sprintf("SELECT DISTINCT %s, %s.id FROM %sjson_each(%s.body, '$.%s') AS element WHERE %s",
			strings.Join(values, ", "), row, from, row, x.Fields[0], allPresent(values))
	}
	insert := fmt.Sprintf("INSERT INTO %s (%s, id) ", each, listed)
	remove := fmt.Sprintf("DELETE FROM %s WHERE (%s, id) IN (%s)", each, listed, entries("old", ""))
	var changed []string
	for _, c := range columns {
		changed = append(changed, "old."+c+" IS NOT new."+c)
	}
	for _, statement := range []string{
		fmt.Sprintf("CREATE TABLE %s (%s, id TEXT NOT NULL, PRIMARY KEY (%s, id)) WITHOUT ROWID",
			each, listed, listed),
		fmt.Sprintf("CREATE TRIGGER %s AFTER INSERT ON %s BEGIN %s; END",
			trigger("insert"), docs, insert+entries("new", "")),
		fmt.Sprintf("CREATE TRIGGER %s AFTER UPDATE ON %s WHEN %s BEGIN %s; %s; END",
			trigger("update"), docs, strings.Join(changed, " OR "), remove, insert+entries("new", "")),
		fmt.Sprintf("CREATE TRIGGER %s AFTER DELETE ON %s BEGIN %s; END", trigger("delete"), docs, remove),
		insert + entries("doc", docs+" AS doc, "),
	} {
		if err := run(ctx, tx, statement); err != nil {
			return err
		}
	}
	return nil
}

func columnNames(fields []string) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = columnName(f)
	}
	return names
}

func prefixed(row string, columns []string) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = row + "." + c
	}
	return names
}

// allPresent is the condition of being in an index. SQLite uses an index that has a
// condition only where a query states it too.
func allPresent(columns []string) string {
	terms := make([]string, len(columns))
	for i, c := range columns {
		terms[i] = c + " IS NOT NULL"
	}
	return strings.Join(terms, " AND ")
}

// Tables are all tables, and how far each is.
func (s *Store) Tables(ctx context.Context) ([]projections.Progress, error) {
	rows, err := s.reader.db.QueryContext(ctx, selectTables+" ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", s.noticed(err))
	}
	defer rows.Close() //nolint:errcheck // Err tells
	var all []projections.Progress
	for rows.Next() {
		p, err := scanProgress(rows)
		if err != nil {
			return nil, fmt.Errorf("list the tables: %w", s.noticed(err))
		}
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the tables: %w", s.noticed(err))
	}
	return all, nil
}

const selectTables = "SELECT name, view, version, indexes, live, position, hash FROM tables"

func scanProgress(row interface{ Scan(...any) error }) (projections.Progress, error) {
	var p projections.Progress
	var indexes []byte
	if err := row.Scan(&p.Name, &p.View, &p.Version, &indexes, &p.Live, &p.Position, &p.Hash); err != nil {
		return p, err
	}
	return p, json.Unmarshal(indexes, &p.Indexes)
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func tableIn(ctx context.Context, in queryer, name string) (projections.Table, error) {
	p, err := scanProgress(in.QueryRowContext(ctx, selectTables+" WHERE name = ?", name))
	if errors.Is(err, sql.ErrNoRows) {
		err = projections.ErrNoTable
	}
	return p.Table, err
}

// GoLive makes a table the one that its view is read from.
func (s *Store) GoLive(ctx context.Context, table string) error {
	var before string
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		t, err := tableIn(ctx, tx, table)
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, "SELECT name FROM tables WHERE live AND view = ? AND name <> ?",
			t.View, table).Scan(&before)
		if err == nil {
			err = drop(ctx, tx, before)
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return run(ctx, tx, "UPDATE tables SET live = 1 WHERE name = ?", table)
	})
	if err != nil {
		return fmt.Errorf("let table %s go live: %w", table, err)
	}
	s.forget(before)
	return nil
}

// Drop deletes a table, if it exists.
func (s *Store) Drop(ctx context.Context, table string) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error { return drop(ctx, tx, table) })
	if err != nil {
		return fmt.Errorf("drop table %s: %w", table, err)
	}
	s.forget(table)
	return nil
}

func drop(ctx context.Context, tx *sql.Tx, table string) error {
	t, err := tableIn(ctx, tx, table)
	if errors.Is(err, projections.ErrNoTable) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, x := range t.Indexes {
		if x.Each {
			err = errors.Join(err, run(ctx, tx, "DROP TABLE "+eachName(table, x.Name)))
		}
	}
	return errors.Join(err,
		run(ctx, tx, "DROP TABLE "+docsName(table)),
		run(ctx, tx, "DELETE FROM tables WHERE name = ?", table))
}

// table is a table by its name.
func (s *Store) table(ctx context.Context, name string) (projections.Table, error) {
	s.mu.RLock()
	t, known := s.tables[name]
	s.mu.RUnlock()
	if known {
		return t, nil
	}
	t, err := tableIn(ctx, s.reader.db, name)
	if err == nil {
		s.know(name, &t)
	}
	return t, s.noticed(err)
}

// know remembers a table, or forgets it when t is nil.
func (s *Store) know(name string, t *projections.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t == nil {
		delete(s.tables, name)
	} else {
		s.tables[name] = *t
	}
}

func (s *Store) forget(table string) {
	s.know(table, nil)
	s.reader.forget(table)
	s.writer.forget(table)
}

// explain turns the failure of a statement on a table that is gone into ErrNoTable, and one that comes
// from damage into ErrStoreDamaged.
func (s *Store) explain(ctx context.Context, table string, err error) error {
	if err = s.noticed(err); errors.Is(err, projections.ErrStoreDamaged) {
		return err
	}
	if _, gone := tableIn(ctx, s.reader.db, table); errors.Is(gone, projections.ErrNoTable) {
		s.forget(table)
		return gone
	}
	return err
}

// run executes a statement.
func run(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
	_, err := tx.ExecContext(ctx, statement, args...)
	return err
}

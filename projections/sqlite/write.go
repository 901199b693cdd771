package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"truebond/projections"
)

// What one statement puts; more is no faster, as measured. SQLite has all of it in memory, beside its cache.
const (
	rowsAtOnce  = 16
	bytesAtOnce = 1 << 20 // of bodies
)

// Write stores a batch, all or nothing.
func (s *Store) Write(ctx context.Context, batch projections.Batch) error {
	err := batch.Check()
	if err == nil {
		err = s.write(ctx, batch)
		for i := 0; err != nil && i < len(batch.Tables); i++ {
			err = s.explain(ctx, batch.Tables[i], err)
		}
	}
	if err != nil {
		return fmt.Errorf("write events %d to %d: %w", batch.From+1, batch.To, err)
	}
	return nil
}

func (s *Store) write(ctx context.Context, batch projections.Batch) error {
	prepared := map[string]writing{}
	for _, table := range batch.Tables {
		w, err := s.prepareWriting(ctx, table)
		if err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		prepared[table] = w
	}
	// Neighbours share pages, so the order of ids touches each page once.
	writes := slices.SortedFunc(slices.Values(batch.Writes), func(a, b projections.Write) int {
		return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.ID, b.ID))
	})
	return s.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, table := range batch.Tables {
			if err := move(ctx, tx, table, batch); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
			prepared[table] = prepared[table].in(ctx, tx)
		}
		for rest := writes; len(rest) > 0; {
			n := alike(rest)
			if err := prepared[rest[0].Table].write(ctx, rest[:n]); err != nil {
				return fmt.Errorf("documents %q to %q of table %s: %w",
					rest[0].ID, rest[n-1].ID, rest[0].Table, err)
			}
			rest = rest[n:]
		}
		return nil
	})
}

// move takes a table from where the batch begins to where it ends.
func move(ctx context.Context, tx *sql.Tx, table string, batch projections.Batch) error {
	done, err := tx.ExecContext(ctx, "UPDATE tables SET position = ?, hash = ? WHERE name = ? AND position = ?",
		batch.To, batch.Hash, table, batch.From)
	if err != nil {
		return err
	}
	moved, err := done.RowsAffected()
	if err != nil || moved == 1 {
		return err
	}
	var position uint64
	err = tx.QueryRowContext(ctx, "SELECT position FROM tables WHERE name = ?", table).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return projections.ErrNoTable
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %d and %d", projections.ErrMoved, position, batch.From)
}

// alike tells how many writes can go in one statement: rowsAtOnce puts into one table, or one.
func alike(writes []projections.Write) int {
	if len(writes) < rowsAtOnce {
		return 1
	}
	bytes := 0
	for _, w := range writes[:rowsAtOnce] {
		bytes += len(w.Body)
		if w.Body == nil || w.Table != writes[0].Table || bytes > bytesAtOnce {
			return 1
		}
	}
	return rowsAtOnce
}

// writing is how documents are written into a table.
type writing struct{ putMany, putOne, remove *sql.Stmt }

func (s *Store) prepareWriting(ctx context.Context, table string) (w writing, err error) {
	if _, err := s.table(ctx, table); err != nil {
		return w, err
	}
	for query, stmt := range map[string]**sql.Stmt{
		putQuery(table, rowsAtOnce):                        &w.putMany,
		putQuery(table, 1):                                 &w.putOne,
		"DELETE FROM " + docsName(table) + " WHERE id = ?": &w.remove,
	} {
		if *stmt, err = s.writer.prepare(ctx, table, query); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w writing) in(ctx context.Context, tx *sql.Tx) writing {
	return writing{tx.StmtContext(ctx, w.putMany), tx.StmtContext(ctx, w.putOne), tx.StmtContext(ctx, w.remove)}
}

// write writes what goes in one statement.
func (w writing) write(ctx context.Context, writes []projections.Write) error {
	if writes[0].Body == nil {
		_, err := w.remove.ExecContext(ctx, writes[0].ID)
		return err
	}
	args := make([]any, 0, 3*len(writes))
	for _, w := range writes {
		args = append(args, w.ID, w.Position, string(w.Body))
	}
	put := w.putMany
	if len(writes) == 1 {
		put = w.putOne
	}
	_, err := put.ExecContext(ctx, args...)
	return err
}

// putQuery puts documents. A failure undoes the transaction at once ("OR ROLLBACK"), so
// that SQLite need not be able to undo the statement alone.
func putQuery(table string, rows int) string {
	return "INSERT OR ROLLBACK INTO " + docsName(table) + " (id, position, body) VALUES " +
		strings.Repeat("(?, ?, ?), ", rows-1) + "(?, ?, ?)" +
		" ON CONFLICT (id) DO UPDATE SET position = excluded.position, body = excluded.body"
}

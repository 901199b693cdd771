// Package sqlite keeps the documents of views in one SQLite file, inside the process.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"truebond/projections"
	"truebond/projections/sqlite/sqlitefile"
)

// A Store is a projections.Store in a SQLite file. It is safe for use by many
// goroutines; one of them writes at a time.
type Store struct {
	writer *statements // one connection, whose transactions begin as writers
	reader *statements

	file *sqlitefile.File

	mu     sync.RWMutex
	tables map[string]projections.Table // those that are known to exist
}

var _ projections.Store = (*Store)(nil)

const (
	readersMax = 8 // connections; more than cores, as reads may wait for the disk
	// layout of the file; raise it when it changes, and the file must be made anew. 1 had no checksums,
	// and a program that knows no other would leave wrong ones.
	layout = 2
)

// Open opens the file at path, and makes it if there is none. Its folder must exist.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open the views in %s: %w", path, err)
	}
	return s, nil
}

func open(path string) (*Store, error) {
	file, err := sqlitefile.At(path)
	if err != nil {
		return nil, err
	}
	s := &Store{file: file, tables: map[string]projections.Table{}}
	// A commit waits for no disk: a power cut takes the last ones, which the log gives back.
	const synchronous = "synchronous(NORMAL)"
	// A checkpoint of 64 MiB writes each page once, however often it has changed.
	writing := []string{synchronous, "wal_autocheckpoint(16384)", "cache_size(-65536)"}
	reading := []string{synchronous, "query_only(1)", "cache_size(-8192)"}

	writer, err := file.Open(sqlitefile.Settings{Pragmas: writing, Connections: 1, Writes: true, Large: true})
	if err != nil {
		return nil, err
	}
	s.writer = keepStatements(writer)
	// The writer makes the file, so it goes first.
	if err := prepareFile(writer); err != nil {
		return nil, errors.Join(s.noticed(err), writer.Close())
	}
	reader, err := file.Open(sqlitefile.Settings{Pragmas: reading, Connections: readersMax})
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	s.reader = keepStatements(reader)
	return s, nil
}

// prepareFile makes what must be there before any table.
func prepareFile(db *sql.DB) error {
	var found int
	if err := db.QueryRow("PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if found < 0 || found > layout {
		return fmt.Errorf("the file has layout %d and this program knows %d;"+
			" move it away, and the views are built from the log again", found, layout)
	}
	_, err := db.Exec(fmt.Sprintf(`
		BEGIN IMMEDIATE;
		CREATE TABLE IF NOT EXISTS tables (
			name     TEXT PRIMARY KEY NOT NULL,
			view     TEXT NOT NULL,
			version  INTEGER NOT NULL,
			indexes  TEXT NOT NULL,
			live     INTEGER NOT NULL DEFAULT 0,
			position INTEGER NOT NULL DEFAULT 0,
			hash     BLOB
		) WITHOUT ROWID;
		CREATE UNIQUE INDEX IF NOT EXISTS one_live_table ON tables (view) WHERE live;
		PRAGMA user_version = %d;
		COMMIT;`, layout))
	return err
}

// Ping tells whether the file can be read and written, and no damage was met so far.
func (s *Store) Ping(ctx context.Context) error {
	if how := s.file.Met(); how != nil {
		return fmt.Errorf("%w: %w", projections.ErrStoreDamaged, how)
	}
	if err := s.file.Stuck(ctx, s.writer.db); err != nil {
		return s.noticed(err)
	}
	var one int
	if err := s.reader.db.QueryRowContext(ctx, "SELECT 1 FROM tables UNION SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("read the views' file: %w", s.noticed(err))
	}
	return nil
}

// Check reads the whole file, and fails when it is not as SQLite has written it: each page must have its
// checksum, and indexes must be those of their tables.
func (s *Store) Check(ctx context.Context) error {
	if err := s.file.Check(ctx, s.reader.db); err != nil {
		return fmt.Errorf("check the views' file: %w", s.noticed(err))
	}
	return nil
}

// Cached is how many bytes of the file are in this process's memory.
func (s *Store) Cached(ctx context.Context) (bytes int64, err error) {
	return s.file.Cached(ctx, s.writer.db, s.reader.db)
}

// noticed tells damage of the file from other errors.
func (s *Store) noticed(err error) error {
	if how := s.file.Damage(err); how != nil && !errors.Is(err, projections.ErrStoreDamaged) {
		return fmt.Errorf("%w: %w", projections.ErrStoreDamaged, how)
	}
	return s.file.Explained(err)
}

// Close ends all connections. The file is whole by itself then.
func (s *Store) Close(context.Context) error {
	// The readers first: the last connection folds the write-ahead log into the file.
	if err := errors.Join(s.reader.close(), s.writer.close()); err != nil {
		return fmt.Errorf("close the views' file: %w", err)
	}
	return nil
}

// inTransaction does something as the one writer, all or nothing. When SQLite has no memory left, the
// driver panics: nothing is rolled back then, since that would wait for the statement, for ever.
func (s *Store) inTransaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.writer.db.BeginTx(ctx, nil)
	if err != nil {
		return s.noticed(err)
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the error counts more
		return s.noticed(err)
	}
	return s.noticed(tx.Commit())
}

// statements keep what was prepared on the connections of a pool, by table, so that a
// table's are forgotten with it. There are a few of them for each index.
type statements struct {
	db       *sql.DB
	mu       sync.RWMutex
	prepared map[string]map[string]*sql.Stmt
}

func keepStatements(db *sql.DB) *statements {
	return &statements{db: db, prepared: map[string]map[string]*sql.Stmt{}}
}

// prepare waits for a connection, so it may not be called within a transaction.
func (p *statements) prepare(ctx context.Context, table, query string) (*sql.Stmt, error) {
	p.mu.RLock()
	known := p.prepared[table][query]
	p.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	stmt, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.prepared[table][query]; known != nil {
		return known, stmt.Close() // somebody else was faster
	}
	if p.prepared[table] == nil {
		p.prepared[table] = map[string]*sql.Stmt{}
	}
	p.prepared[table][query] = stmt
	return stmt, nil
}

func (p *statements) forget(table string) {
	p.mu.Lock()
	dropped := p.prepared[table]
	delete(p.prepared, table)
	p.mu.Unlock()
	for _, stmt := range dropped {
		_ = stmt.Close() // its table is gone
	}
}

func (p *statements) close() error { return p.db.Close() }

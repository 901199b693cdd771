package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"truebond/projections/sqlite/sqlitefile"
)

// SQLite keeps the vault in a file of its own, which only its owner can read.
type SQLite struct {
	db   *sql.DB
	file *sqlitefile.File

	overwriting atomic.Int32                       // how many want old bytes overwritten
	checking    atomic.Pointer[context.CancelFunc] // ends the check under way
	pause       time.Duration                      // checkAgain, but for tests
}

// Rows are only ever added at the end, and a key, its next wrapping and its tombstone
// take the same room. So a key is overwritten where it stands, and SQLite leaves no
// copy of it on a page that it once had to split.
const sqliteSchema = `
CREATE TABLE IF NOT EXISTS root (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	record BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS keys (
	number  INTEGER PRIMARY KEY,
	owner   TEXT NOT NULL UNIQUE,
	erased  INTEGER NOT NULL,
	wrapped BLOB NOT NULL -- zeros after an erasure
);`

// OpenSQLite opens the vault's file, or makes it.
func OpenSQLite(path string) (*SQLite, error) {
	s, err := openSQLite(path)
	if err != nil {
		return nil, fmt.Errorf("open the vault's file: %w", err)
	}
	return s, nil
}

func openSQLite(path string) (*SQLite, error) {
	// One connection: no reader of ours keeps an old page from being overwritten. Only a check has
	// another one, and gives way.
	file, err := sqlitefile.At(path)
	if err != nil {
		return nil, err
	}
	db, err := file.Open(sqlitefile.Settings{
		// Each commit is in the file itself at once: a bit that flips in the write-ahead log, where
		// SQLite takes it for the log's end after a crash, takes no key with it.
		Pragmas:     []string{"synchronous(FULL)", "secure_delete(ON)", "wal_autocheckpoint(1)"},
		Connections: 1, Writes: true,
	})
	if err != nil {
		return nil, err
	}
	s := &SQLite{db: db, file: file, pause: checkAgain}
	if _, err := db.Exec(sqliteSchema); err != nil {
		return nil, errors.Join(s.noticed(err), db.Close())
	}
	// A crash may have come between an erasure and this.
	if err := s.overwriteOld(context.Background()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// A ReadCloser is a Reader that is let go of when all was read.
type ReadCloser interface {
	Reader
	Close(ctx context.Context) error
}

// ReadSQLite opens the vault's file to be read alone, while nobody has it open. Nothing is changed there, also not
// where a server was killed. Errors: fs.ErrNotExist.
func ReadSQLite(path string) (ReadCloser, error) {
	file, err := sqlitefile.At(path)
	if err != nil {
		return nil, err
	}
	db, err := file.Read()
	if err != nil {
		return nil, fmt.Errorf("read the vault's file: %w", err)
	}
	return &SQLite{db: db, file: file}, nil
}

// Keys is Store's.
func (s *SQLite) Keys(ctx context.Context, owners []string) (keys []Key, record []byte, err error) {
	defer func() { err = s.noticed(err) }()
	// One statement, so that it sees one moment. The root's row has no owner.
	query := `SELECT NULL, 0, record FROM root`
	args := make([]any, len(owners))
	if len(owners) > 0 {
		query += ` UNION ALL SELECT owner, erased, wrapped FROM keys WHERE owner IN (?` +
			strings.Repeat(",?", len(owners)-1) + `)`
	}
	for i, owner := range owners {
		args[i] = owner
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var owner sql.NullString
		var k Key
		if err := rows.Scan(&owner, &k.Erased, &k.Wrapped); err != nil {
			return nil, nil, err
		}
		switch {
		case !owner.Valid:
			record = k.Wrapped
			continue
		case k.Erased:
			k.Wrapped = nil
		}
		k.Owner = owner.String
		keys = append(keys, k)
	}
	return keys, record, rows.Err()
}

// AddKey is Store's.
func (s *SQLite) AddKey(ctx context.Context, owner string, wrapped []byte) error {
	const add = `INSERT INTO keys (owner, erased, wrapped) VALUES (?, 0, ?) ON CONFLICT (owner) DO NOTHING`
	_, err := s.db.ExecContext(ctx, add, owner, wrapped)
	return s.noticed(err)
}

// Destroy is Store's. The key's old bytes are gone from the files when it returns.
func (s *SQLite) Destroy(ctx context.Context, owner string) error {
	const destroy = `INSERT INTO keys (owner, erased, wrapped) VALUES (?, 1, zeroblob(0))
		ON CONFLICT (owner) DO UPDATE SET erased = 1, wrapped = zeroblob(length(wrapped))`
	if _, err := s.db.ExecContext(ctx, destroy, owner); err != nil {
		return s.noticed(err)
	}
	return s.overwriteOld(ctx)
}

// SwapRoot is Store's.
func (s *SQLite) SwapRoot(ctx context.Context, old, after []byte) (bool, error) {
	statement, args := `UPDATE root SET record = ? WHERE record = ?`, []any{after, old}
	if old == nil {
		statement, args = `INSERT INTO root VALUES (1, ?) ON CONFLICT DO NOTHING`, []any{after}
	}
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return false, s.noticed(err)
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return false, err
	}
	return changed == 1, s.overwriteOld(ctx)
}

// Page is Store's.
func (s *SQLite) Page(ctx context.Context, after string, limit int) (keys []Key, err error) {
	defer func() { err = s.noticed(err) }()
	const page = `SELECT owner, wrapped FROM keys WHERE owner > ? AND NOT erased ORDER BY owner LIMIT ?`
	rows, err := s.db.QueryContext(ctx, page, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var k Key
		if err := rows.Scan(&k.Owner, &k.Wrapped); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// Rewrap is Store's.
func (s *SQLite) Rewrap(ctx context.Context, changes []Rewrap) (err error) {
	defer func() { err = s.noticed(err) }()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	for _, c := range changes {
		const rewrap = `UPDATE keys SET wrapped = ? WHERE owner = ? AND wrapped = ?`
		if _, err := tx.ExecContext(ctx, rewrap, c.New, c.Owner, c.Old); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.overwriteOld(ctx)
}

// Ping tells whether the file can be read and written, and no damage was met so far.
func (s *SQLite) Ping(ctx context.Context) error {
	if how := s.file.Met(); how != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, how)
	}
	if err := s.file.Stuck(ctx, s.db); err != nil {
		return s.noticed(err)
	}
	_, _, err := s.Keys(ctx, nil)
	return err
}

// checkAgain is how long a check that has given way waits before it begins anew.
const checkAgain = time.Second

// Check reads the whole file, and keeps nobody waiting: with many keys it takes minutes. ErrDamaged: it
// is not as it was written.
func (s *SQLite) Check(ctx context.Context) error {
	for {
		gaveWay, err := s.checkOnce(ctx)
		if err == nil && !gaveWay { // what was committed meanwhile may be in the write-ahead log alone
			return s.overwriteOld(ctx)
		}
		if !gaveWay || ctx.Err() != nil {
			return s.noticed(err)
		}
		select {
		case <-time.After(s.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkOnce gives way to whoever wants old bytes overwritten: one of the two sees the other.
func (s *SQLite) checkOnce(ctx context.Context) (gaveWay bool, err error) {
	db, err := s.file.Open(sqlitefile.Settings{Pragmas: []string{"query_only(1)"}, Connections: 1})
	if err != nil {
		return false, err
	}
	defer db.Close() //nolint:errcheck // it has only read
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.checking.Store(&cancel)
	if s.overwriting.Load() > 0 {
		return true, nil
	}
	err = s.file.Check(ctx, db)
	return err != nil && ctx.Err() != nil, err
}

// noticed tells damage of the file from other errors.
func (s *SQLite) noticed(err error) error {
	if how := s.file.Damage(err); how != nil && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrDamaged, how)
	}
	return s.file.Explained(err)
}

// Close lets go of the file.
func (s *SQLite) Close(context.Context) error { return s.db.Close() }

// overwriteOld moves what is in the write-ahead file into the main one, over the old
// bytes there, and empties it.
func (s *SQLite) overwriteOld(ctx context.Context) error {
	s.overwriting.Add(1)
	defer s.overwriting.Add(-1)
	if stop := s.checking.Load(); stop != nil {
		(*stop)()
	}
	const tries, pause = 500, 20 * time.Millisecond
	for range tries {
		emptied, err := s.emptyLog(ctx)
		if err != nil {
			return fmt.Errorf("empty the write-ahead file: %w", s.noticed(err))
		}
		if emptied {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("empty the write-ahead file: %w", ctx.Err())
		}
	}
	return errors.New("empty the write-ahead file: another process does not stop reading it")
}

// emptyLog does not wait for who reads: there is one connection, and others want it meanwhile.
func (s *SQLite) emptyLog(ctx context.Context) (emptied bool, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close() //nolint:errcheck // it goes back
	var patience, busy, frames, moved int
	if err := conn.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&patience); err != nil {
		return false, err
	}
	if _, err := conn.ExecContext(ctx, `PRAGMA busy_timeout = 0`); err != nil {
		return false, err
	}
	err = conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &moved)
	_, restored := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf(`PRAGMA busy_timeout = %d`, patience))
	return busy == 0, errors.Join(err, restored)
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresSchema is what a careful engineer would write for the same charges: one
// function, one round trip, one transaction. The key is unique for ever, a balance goes
// down only if there is enough, and the first answer comes again for a key. Of each of
// these there is nothing else in the table: no lots, no history by user, no statement.
const postgresSchema = `
DROP SCHEMA IF EXISTS truebond_bench CASCADE;
CREATE SCHEMA truebond_bench;
SET search_path = truebond_bench;
CREATE TABLE account (id text PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0)) WITH (fillfactor = 50);
CREATE TABLE revenue (id int PRIMARY KEY, credits bigint NOT NULL) WITH (fillfactor = 10);
CREATE TABLE charge (key text PRIMARY KEY, request bytea NOT NULL, account text NOT NULL, credits bigint NOT NULL,
	reason text NOT NULL, available bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO revenue VALUES (1, 0);
CREATE FUNCTION deduct(k text, req bytea, who text, n bigint, why text, shared bool) RETURNS bigint
LANGUAGE plpgsql SET search_path = truebond_bench AS $$
DECLARE
	earlier bytea;
	remains bigint;
BEGIN
	SELECT request, available INTO earlier, remains FROM charge WHERE key = k;
	IF FOUND THEN
		IF earlier <> req THEN
			RAISE EXCEPTION 'key_reused';
		END IF;
		RETURN remains;
	END IF;
	UPDATE account SET available = available - n WHERE id = who AND available >= n RETURNING available INTO remains;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'insufficient_credits';
	END IF;
	INSERT INTO charge (key, request, account, credits, reason, available) VALUES (k, req, who, n, why, remains);
	IF shared THEN
		UPDATE revenue SET credits = credits + n WHERE id = 1;
	END IF;
	RETURN remains;
END $$;`

// A postgresBench charges accounts by a function in a Postgres server.
type postgresBench struct {
	url string
	l   *ledgerBench // for numbers of charges
}

// openPostgres makes a schema of its own on a server that keeps what it acknowledges.
func openPostgres(ctx context.Context, url string, l *ledgerBench) (*postgresBench, error) {
	p := &postgresBench{url, l}
	return p, p.on(ctx, func(conn *pgx.Conn) error {
		for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			var value string
			if err := conn.QueryRow(ctx, "SHOW "+setting).Scan(&value); err != nil {
				return err
			}
			if value != "on" {
				return fmt.Errorf("the Postgres server has %s = %s: what it acknowledges can be lost", setting, value)
			}
		}
		if _, err := conn.Exec(ctx, postgresSchema); err != nil {
			return err
		}
		accounts := pgx.CopyFromSlice(l.accounts, func(i int) ([]any, error) {
			return []any{benchUser(i), int64(benchFunds)}, nil
		})
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"truebond_bench", "account"}, []string{"id", "available"}, accounts)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "VACUUM ANALYZE truebond_bench.account")
		return err
	})
}

func (p *postgresBench) close(ctx context.Context) error {
	return p.on(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS truebond_bench CASCADE")
		return err
	})
}

const postgresClient = "truebond bench" // what the server knows our connections as

func (p *postgresBench) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(p.url)
	if err != nil {
		return nil, fmt.Errorf("the URL of Postgres: %w", err)
	}
	config.RuntimeParams["application_name"] = postgresClient
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	return conn, nil
}

// on lends a connection.
func (p *postgresBench) on(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(do(conn), conn.Close(ctx)); err != nil {
		return fmt.Errorf("Postgres: %w", err) //nolint:revive,staticcheck // a name
	}
	return nil
}

// begin gets so many callers ready, each on a connection of its own with the statement
// prepared.
func (p *postgresBench) begin(account func(int64) string, shared bool) func(context.Context, int) (round, error) {
	return func(_ context.Context, callers int) (round, error) {
		return func(ctx context.Context, length time.Duration) (m measured, err error) {
			defer func() { err = errors.Join(err, p.settle(ctx)) }()
			all := make([]caller, callers)
			for i := range all {
				conn, err := p.connect(ctx)
				if err != nil {
					return m, err
				}
				defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is thrown away
				all[i] = p.caller(conn, account, shared)
				if err := all[i](ctx); err != nil { // prepares the statement
					return m, err
				}
			}
			return together(ctx, all, lasting(length), 0)
		}, nil
	}
}

// settle waits until the server has ended the processes of closed connections, so that the next
// round does not pay for this one.
func (p *postgresBench) settle(ctx context.Context) error {
	const (
		exit    = 200 * time.Millisecond // a process takes that long to end once it is on the list no more
		exitMax = 10 * time.Second       // another bench may be at work
	)
	return p.on(ctx, func(conn *pgx.Conn) error {
		end := time.Now().Add(exitMax)
		for others := 1; others > 0 && time.Now().Before(end); {
			const count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()"
			if err := conn.QueryRow(ctx, count, postgresClient).Scan(&others); err != nil {
				return err
			}
			if !sleep(ctx, exit) {
				return ctx.Err()
			}
		}
		return nil
	})
}

func (p *postgresBench) caller(conn *pgx.Conn, account func(int64) string, shared bool) caller {
	const call = "SELECT truebond_bench.deduct($1, $2, $3, 1, 'bench', $4)"
	request := make([]byte, 32)
	return func(ctx context.Context) error {
		n := p.l.n.Add(1)
		var remains int64
		return conn.QueryRow(ctx, call, benchKey(uint64(n)), request, account(n), shared).Scan(&remains)
	}
}

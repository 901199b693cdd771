package storetest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres gives the URL of a Postgres server of the test's own, which syncs what it
// acknowledges. Without one the test is skipped, or fails where the environment has CI=true.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // where Debian has them
	if len(found) == 0 {
		missing(t, "postgres", fmt.Errorf("%w: not in /usr/lib/postgresql", errNotInstalled))
	}
	bin := found[len(found)-1]
	s, err := start("sh", "POSTGRES_SHELL", func(dir, _, port string) []string {
		return []string{"-c", startPostgres, "postgres", bin, dir, port}
	}, postgresAnswers)
	if err != nil {
		missing(t, "postgres", err)
	}
	t.Cleanup(s.stop)
	return postgresURL(s.addr)
}

// startPostgres makes a cluster and becomes its server. Postgres refuses to be root.
const startPostgres = `
set -e
if [ "$(id -u)" = 0 ]; then
	chown postgres "$2"
	as="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
$as "$1/initdb" -D "$2/data" -U postgres -A trust --no-sync >/dev/null
exec $as "$1/postgres" -D "$2/data" -k "$2" -h 127.0.0.1 -p "$3" -c max_connections=300
`

func postgresURL(addr string) string { return "postgres://postgres@" + addr + "/postgres" }

func postgresAnswers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, postgresURL(addr))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"truebond/cmd/truebond/datafolder"
	"truebond/projections/storetest"
)

func TestGoalsAreRatiosOfFiguresOfOneRun(t *testing.T) {
	var out bytes.Buffer
	printGoals(&out, []Row{
		{Case: "jetstream", Callers: 64, PerSecond: 100}, {Case: "jetstream", Callers: 1024, PerSecond: 50},
		{Case: "writer", Callers: 1024, PerSecond: 80}, {Case: "query-idle", P99: 2}, {Case: "query-busy", P99: 7},
		{Case: "start-short", P50: 4000}, {Case: "start-long", P50: 6000},
	})
	want := "writer, 1,024 callers / JetStream's best batch: 0.80 (at least 0.8: met)\n" +
		"a query's p99, projector busy / idle: 3.50 (at most 3: MISSED)\n" +
		"start to serving, long log / short log: 1.50 (at most 2, and 5000 ms: MISSED)\n"
	if out.String() != want {
		t.Errorf("it says\n%s", &out)
	}
}

func TestACaseThatThereIsNotIsNamed(t *testing.T) {
	b := &bench{Options: Options{Cases: []string{"writer", "wirter"}}, rows: []Row{{Case: "writer"}}}
	if err := b.missing(); !errors.Is(err, ErrNoCase) || !strings.Contains(err.Error(), "--case wirter") {
		t.Errorf("it says %v", err)
	}
	if err := (&bench{rows: b.rows}).missing(); err != nil {
		t.Errorf("without a --case it says %v", err)
	}
}

func TestTheLedgerIsMeasuredNextToPostgresAndItsReaders(t *testing.T) {
	url := storetest.Postgres(t)
	l, err := openLedger(t.Context(), t.TempDir(), 50)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	p, err := openPostgres(t.Context(), url, l)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Options: Options{Quick: true, Rounds: 1}, notes: io.Discard}
	cases := []benchCase{
		{"http", false, l.begin(l.hotAccount, l.overHTTP), nil},
		{"http-bulk", false, l.bulk, map[int]int{8: 2}},
		{"postgres", false, p.begin(l.anyAccount, false), nil},
		{"postgres-revenue", false, p.begin(l.hotAccount, true), nil},
	}
	if err := b.turns(t.Context(), cases, 8); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"http", "http-bulk", "postgres", "postgres-revenue"} {
		if r := b.rows[i]; r.Case != name || r.PerSecond <= 0 || r.P99 < r.P50 || r.P50 <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if err := b.queries(t.Context(), l); err != nil || b.rows[4].P50 <= 0 {
		t.Errorf("queries: %+v, %v", b.rows[4:], err)
	}
	if err := p.on(t.Context(), p.keepsItsPromises); err != nil {
		t.Error(err)
	}
	if err := p.close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStoreTakesTheSameDocumentsWithoutFolding(t *testing.T) {
	b := &bench{Options: Options{Rounds: 1}, notes: io.Discard}
	err := inFolder(func(folder string) error {
		raw, err := openRaw(t.Context(), folder+"/raw")
		if err != nil {
			return err
		}
		defer raw.log.Close()
		records, err := sampleCharges(raw.codec, benchAccounts, 0, 1000)
		if err != nil {
			return err
		}
		if err := raw.log.Append(t.Context(), 0, records); err != nil {
			return err
		}
		return b.store(t.Context(), "sqlite", "", datafolder.Folder{Path: folder}, raw.log, 1000)
	})
	if err != nil || len(b.rows) != 2 || b.rows[0].PerSecond <= 0 || b.rows[1].PerSecond <= 0 {
		t.Errorf("measured were %+v, %v", b.rows, err)
	}
}

// keepsItsPromises checks that the function compared with does what it is compared for.
func (p *postgresBench) keepsItsPromises(conn *pgx.Conn) error {
	ctx := context.Background()
	deduct := func(key, request string, credits int64) (remains int64, err error) {
		err = conn.QueryRow(ctx, "SELECT truebond_bench.deduct($1, $2, $3, $4, 'test', true)",
			key, []byte(request), benchUser(9), credits).Scan(&remains)
		return remains, err
	}
	first, err := deduct("promise", "r", 5)
	if err != nil {
		return err
	}
	if again, err := deduct("promise", "r", 5); err != nil || again != first {
		return fmt.Errorf("a replay answers %d, %w; want %d", again, err, first)
	}
	if _, err := deduct("promise", "other", 5); err == nil || !strings.Contains(err.Error(), "key_reused") {
		return fmt.Errorf("another request under the key: %w", err)
	}
	if _, err := deduct("too much", "r", first+1); err == nil || !strings.Contains(err.Error(), "insufficient") {
		return fmt.Errorf("more than there is: %w", err)
	}
	var sum, charged int64
	const sums = "SELECT (SELECT credits FROM truebond_bench.revenue), (SELECT sum(available) FROM truebond_bench.account)"
	if err := conn.QueryRow(ctx, sums).Scan(&charged, &sum); err != nil {
		return err
	}
	var all int64
	if err := conn.QueryRow(ctx, "SELECT sum(credits) FROM truebond_bench.charge").Scan(&all); err != nil {
		return err
	}
	if sum+all != int64(p.l.accounts)*benchFunds || charged == 0 || charged > all {
		return fmt.Errorf("%d are left, %d were charged, %d are revenue", sum, all, charged)
	}
	return nil
}

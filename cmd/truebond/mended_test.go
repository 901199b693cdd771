package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/ledger"
)

// Somebody has written into the store. When its view is built again, nothing is decided by that any more.
func TestWhatARebuildHasMendedIsDecidedBy(t *testing.T) {
	data := t.TempDir()
	o := server.Options{Data: data, Listen: "127.0.0.1:0"}
	var ann string
	t.Run("before", func(t *testing.T) {
		w := serveFrom(t, o)
		p := w.signsUp()
		p.has(10) // so it is stored
		ann = p.id
	})
	tamper(t, data, "accounts", ann, "$.lots[0].credits", 1000)
	w := serveFrom(t, o)
	key := w.apiKey(ledger.ScopeDeduct)
	charge := func(idempotencyKey string, credits int) answer {
		return w.ask("POST", "/api/credits/deduct", key, map[string]any{"user_id": ann, "credits": credits, "reason": "a gift"},
			"Idempotency-Key", idempotencyKey)
	}
	charge("one", 1).is(201).says("available", 999) // so it is believed
	w.rebuilds("accounts")
	charge("two", 500).is(402)
	charge("three", 2).is(201).says("available", 7)
}

// tamper changes a document of a view whose server does not run.
func tamper(t *testing.T, data, view, id, path string, value any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := sql.Open("sqlite3", filepath.Join(data, "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // what was written is committed
	var table string
	if err := db.QueryRowContext(ctx, "SELECT name FROM tables WHERE live AND view = ?", view).Scan(&table); err != nil {
		t.Fatal(err)
	}
	done, err := db.ExecContext(ctx, `UPDATE "docs.`+table+`" SET body = json_set(body, ?, ?) WHERE id = ?`, path, value, id)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := done.RowsAffected(); n != 1 {
		t.Fatalf("%d documents were tampered with", n)
	}
}

package main

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDriftIsFoundNamedAndMeasured(t *testing.T) {
	data := t.TempDir()
	l := prepareLoad(t, data)
	victim := l.people[1].id
	db, err := sql.Open("sqlite3", filepath.Join(data, "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	var table string
	if err := db.QueryRow("SELECT name FROM tables WHERE live AND view = 'accounts'").Scan(&table); err != nil {
		t.Fatal(err)
	}
	done, err := db.Exec(`UPDATE "docs.`+table+`" SET body = json_set(body, '$.extra', 'somebody@example.com') WHERE id = ?`, victim)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := done.RowsAffected(); n != 1 {
		t.Fatalf("%d documents were tampered with", n)
	}
	db.Close()

	out := runRebuild(t, data, exitFailed, "compare", "accounts", "users")
	for _, wanted := range []string{victim + " differs: stored at position ", "accounts: 4 documents", "1 differ", "users: 4 documents",
		"not what follows from the log: accounts"} {
		if !strings.Contains(out, wanted) {
			t.Errorf("it does not say %q: %s", wanted, out)
		}
	}
	if strings.Contains(out, "example.com") {
		t.Errorf("it tells what is in a document: %s", out)
	}

	w := serveFrom(t, options{data: data, listen: "127.0.0.1:0", compareEvery: 20 * time.Millisecond})
	w.drifts(map[string]string{"accounts": "1", "balances": "0", "audit": "0", "message_stats": "0"})
	for try := 0; ; try++ {
		if w.operate("/api/operator/rebuild", map[string]any{"views": []string{"accounts"}}); try > 100 {
			t.Fatal("the drift stays")
		}
		if w.drift("accounts") == "0" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// drifts waits until the server has measured the drift of these views.
func (w *world) drifts(want map[string]string) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		wrong := ""
		for view, drift := range want {
			if got := w.drift(view); got != drift {
				wrong = view + " has the drift " + got + ", want " + drift
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal(wrong)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// drift is what the server has measured last; empty if nothing yet.
func (w *world) drift(view string) string {
	w.t.Helper()
	metrics := string(w.ask("GET", "/metrics", "", nil).is(200).body)
	found := regexp.MustCompile(`truebond_view_drift_documents\{view="` + view + `"\} (\S+)`).FindStringSubmatch(metrics)
	if found == nil {
		return ""
	}
	return found[1]
}

// A comparison that meets what an operator builds has its turn later.
func TestAComparisonThatAnOperatorIsInTheWayOfHasNotFailed(t *testing.T) {
	w := serveFrom(t, options{data: t.TempDir(), listen: "127.0.0.1:0", compareEvery: 20 * time.Millisecond})
	w.signsUp()
	const most = 10 // rebuilds, each longer than the pause between two comparisons
	for rebuilt, end := 0, time.Now().Add(time.Minute); rebuilt < most; {
		said := w.operate("/api/operator/rebuild", map[string]any{"views": []string{}}).is(200).body
		if !strings.Contains(string(said), "view_building") {
			rebuilt++
		}
		if time.Now().After(end) {
			t.Fatalf("only %d rebuilds found the views free", rebuilt)
		}
	}
	w.drifts(map[string]string{"users": "0", "audit": "0"})
	metrics := string(w.ask("GET", "/metrics", "", nil).is(200).body)
	if !strings.Contains(metrics, "\ntruebond_view_compare_failures_total 0\n") {
		t.Errorf("comparisons have failed: %s", regexp.MustCompile(`view_compare_failures_total \d+`).FindString(metrics))
	}
}

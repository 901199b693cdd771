package main

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/http"
	"truebond/projections"
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

	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", CompareEvery: 20 * time.Millisecond})
	w.drifts(map[string]string{"accounts": "1", "balances": "0", "audit": "0", "message_stats": "0"})
	w.rebuilds("accounts")
	w.drifts(map[string]string{"accounts": "0"})
}

// rebuilds has views built again; all if none is named. It may be told several times that they are
// compared just now.
func (w *world) rebuilds(views ...string) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		said := w.operate("/api/operator/rebuild", map[string]any{"views": append([]string{}, views...)}).is(200).body
		switch {
		case !strings.Contains(string(said), "problem"):
			return
		case !strings.Contains(string(said), "view_building"):
			w.t.Fatalf("%q are not built again: %s", views, said)
		case time.Now().After(end):
			w.t.Fatalf("%q were not found free in a minute", views)
		}
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
	of := func(name string) string {
		found := regexp.MustCompile(`truebond_` + name + `\{view="` + view + `"\} (\S+)`).FindStringSubmatch(metrics)
		if found == nil {
			w.t.Fatalf("there is no %s of %s", name, view)
		}
		return found[1]
	}
	if of("view_compared_position") == "0" || of("view_compared_timestamp_seconds") == "0" {
		return ""
	}
	return of("view_drift_documents")
}

func TestEachViewHasItsMetricsFromTheStart(t *testing.T) {
	w := serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	for _, view := range projections.Catalogue() {
		if drift := w.drift(view.Name); drift != "" {
			t.Errorf("the drift of %s was measured already, as %s", view.Name, drift)
		}
	}
}

// A comparison that meets what an operator builds has its turn later.
func TestAComparisonThatAnOperatorIsInTheWayOfHasNotFailed(t *testing.T) {
	w := serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", CompareEvery: 100 * time.Millisecond})
	w.signsUp()
	const most = 10 // rebuilds, each longer than the pause between two comparisons
	for range most {
		w.rebuilds()
	}
	w.drifts(map[string]string{"users": "0", "audit": "0"})
	metrics := string(w.ask("GET", "/metrics", "", nil).is(200).body)
	if !strings.Contains(metrics, "\ntruebond_view_compare_failures_total 0\n") {
		t.Errorf("comparisons have failed: %s", regexp.MustCompile(`view_compare_failures_total \d+`).FindString(metrics))
	}
}

func TestAReportSaysOneDocumentAsOne(t *testing.T) {
	var said strings.Builder
	err := report(&said, []http.CompareLine{{View: "users", Result: &http.Compared{Documents: 1, Position: 9, Drift: 1}}})
	if want := "users: 1 document compared up to position 9, 1 differs\n"; !strings.HasPrefix(said.String(), want) || err == nil {
		t.Errorf("it says %q, not %q, and %v", said.String(), want, err)
	}
}

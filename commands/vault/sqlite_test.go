package vault

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoByteOfADestroyedKeyStaysInTheFiles(t *testing.T) {
	const owners = 1500 // many pages
	path := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	addKeys(t, v, owners)
	must(t, v.Rotate(t.Context(), newSecret))
	must(t, store.overwriteOld(t.Context()))
	sealed(t, v, "the last one", "msg/1", "hello") // is in the write-ahead file alone

	for _, owner := range []string{"owner 0", "owner 400", "owner 1499", "the last one"} {
		keys, _, err := store.Keys(t.Context(), []string{owner})
		must(t, err)
		if !isInFiles(t, path, keys[0].Wrapped) {
			t.Fatalf("the key of %s is not where it is looked for", owner)
		}
		must(t, v.Erase(t.Context(), owner))
		if isInFiles(t, path, keys[0].Wrapped[generationBytes:][:16]) {
			t.Fatalf("the key of %s is still there", owner)
		}
	}
}

func TestNoByteOfAnOldWrappingStaysInTheFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	addKeys(t, v, 1500)
	before, root, err := store.Keys(t.Context(), allOwners(1500))
	must(t, err)
	must(t, v.Rotate(t.Context(), newSecret))
	contents := files(t, path)
	for _, k := range before {
		if bytes.Contains(contents, k.Wrapped[generationBytes:][:16]) {
			t.Fatalf("the old wrapping of %s is still there", k.Owner)
		}
	}
	if bytes.Contains(contents, root) || bytes.Contains(contents, []byte("previous")) {
		t.Fatal("the old root is still there")
	}
}

func TestAnErasureThatACrashCutOffIsFinishedAtTheNextStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	sealed(t, v, "ann", "msg/1", "hello")
	keys, _, err := store.Keys(t.Context(), []string{"ann"})
	must(t, err)
	_, err = store.db.Exec(`PRAGMA wal_autocheckpoint = 0`) // the crash comes before
	must(t, err)
	_, err = store.db.Exec(`UPDATE keys SET erased = 1, wrapped = zeroblob(length(wrapped))`)
	must(t, err)
	// Copying the files while they are open is what a crash leaves.
	after := filepath.Join(t.TempDir(), "vault.db")
	for _, end := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + end)
		must(t, err)
		must(t, os.WriteFile(after+end, content, 0o600))
	}
	if !isInFiles(t, after, keys[0].Wrapped) {
		t.Fatal("the crash has left nothing to do")
	}
	openedSQLite(t, after)
	if isInFiles(t, after, keys[0].Wrapped) {
		t.Fatal("the key is still there")
	}
}

func TestADamagedFileIsToldAndNoKeyCountsAsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	addKeys(t, v, 100)
	must(t, store.overwriteOld(t.Context()))
	content, err := os.ReadFile(path)
	must(t, err)
	for at := 4096 + 50; at < len(content); at += 4096 {
		content[at] ^= 4
	}
	damaged := filepath.Join(t.TempDir(), "vault.db")
	must(t, os.WriteFile(damaged, content, 0o600))
	store = openedSQLite(t, damaged)
	_, _, err = store.Keys(t.Context(), []string{"owner 7"})
	for what, err := range map[string]error{
		"read": err, "destroyed": store.Destroy(t.Context(), "owner 7"), "pinged": store.Ping(t.Context()),
		"checked": store.Check(t.Context()), "added": store.AddKey(t.Context(), "owner 7", []byte("key")),
	} {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), damaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNobodyWaitsForACheck(t *testing.T) {
	const many = 100_000 // so that it takes some hundred milliseconds
	store := openedSQLite(t, filepath.Join(t.TempDir(), "vault.db"))
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	addKeys(t, v, many)
	must(t, store.overwriteOld(t.Context()))
	store.pause = time.Millisecond
	// A check that is stopped while it goes on begins anew.
	duringACheck := func(do func() error, stops bool) bool {
		checked, before := make(chan error, 1), store.checking.Load()
		go func() { checked <- store.Check(t.Context()) }()
		for store.checking.Load() == before {
			time.Sleep(time.Millisecond)
		}
		this := store.checking.Load()
		time.Sleep(20 * time.Millisecond) // it is in the midst of it
		must(t, do())
		if !stops {
			(*this)()
		}
		must(t, <-checked)
		return store.checking.Load() != this
	}
	added := 0
	for what, do := range map[string]func() error{
		"added": func() error {
			added++
			return store.AddKey(t.Context(), fmt.Sprint("ann ", added), []byte("key"))
		},
		"read":      func() error { _, _, err := store.Keys(t.Context(), []string{"owner 7"}); return err },
		"destroyed": func() error { return store.Destroy(t.Context(), "owner 7") },
	} {
		const tries = 20 // a busy machine may do the one before the other
		during := false
		for try := 0; try < tries && !during; try++ {
			during = duringACheck(do, what == "destroyed")
		}
		if !during {
			t.Errorf("a key is %s when the file was checked", what)
		}
	}
}

func TestNobodyWaitsForAnErasureThatAnotherProcessHoldsUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true, Uncached())
	must(t, err)
	text := sealed(t, v, "bob", "msg/1", "hello")
	others := openedSQLite(t, path)
	held, err := others.db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	must(t, err)
	var keys int
	must(t, held.QueryRow("SELECT count(*) FROM keys").Scan(&keys))
	erased := make(chan error, 1)
	go func() { erased <- v.Erase(t.Context(), "ann") }()
	begun := time.Now()
	for range 100 {
		if got, err := v.Text(t.Context(), text); err != nil || got != "hello" {
			t.Fatalf("%q is read: %v", got, err)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a hundred texts took %v", took)
	}
	select {
	case err := <-erased:
		t.Errorf("the key is overwritten while it is read: %v", err)
	default:
	}
	must(t, held.Commit())
	must(t, <-erased)
}

// A log that is not sound ends there for SQLite. By then the file itself has what was acknowledged.
func TestAKeyDoesNotDependOnTheWriteAheadLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store := openedSQLite(t, path)
	v, err := Open(t.Context(), store, secret, true)
	must(t, err)
	text := sealed(t, v, "ann", "msg/1", "hello")
	for _, end := range []string{"", "-wal"} { // as a crash leaves them
		content, err := os.ReadFile(path + end)
		must(t, err)
		if end != "" {
			content[50] ^= 1
		}
		must(t, os.WriteFile(path+".copy"+end, content, 0o600))
	}
	v, err = Open(t.Context(), openedSQLite(t, path+".copy"), secret, false)
	must(t, err)
	if got, err := v.Text(t.Context(), text); err != nil || got != "hello" {
		t.Errorf("%q is read: %v", got, err)
	}
}

func TestOnlyItsOwnerReadsTheFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	opened(t, func(t *testing.T) Store { return openedSQLite(t, path) }, secret)
	found, err := filepath.Glob(path + "*")
	must(t, err)
	for _, name := range found {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v", filepath.Base(name), info.Mode())
		}
	}
}

func onSQLite(t *testing.T) home {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault.db")
	return func(t *testing.T) Store { return openedSQLite(t, path) }
}

func openedSQLite(t *testing.T, path string) *SQLite {
	t.Helper()
	store, err := OpenSQLite(path)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close(context.Background())) })
	return store
}

// addKeys adds keys in one transaction: one by one, each waits for the disk.
func addKeys(t *testing.T, v *Vault, n int) {
	t.Helper()
	tx, err := v.store.(*SQLite).db.Begin()
	must(t, err)
	for _, owner := range allOwners(n) {
		_, err := tx.Exec(`INSERT INTO keys (owner, erased, wrapped) VALUES (?, 0, ?)`, owner,
			v.ring.wrap(owner, randomBytes(keyBytes)))
		must(t, err)
	}
	must(t, tx.Commit())
}

func allOwners(n int) []string {
	owners := make([]string, n)
	for i := range owners {
		owners[i] = fmt.Sprintf("owner %d", i*7%n) // not in their order
	}
	return owners
}

func isInFiles(t *testing.T, path string, what []byte) bool {
	t.Helper()
	return bytes.Contains(files(t, path), what)
}

func files(t *testing.T, path string) []byte {
	t.Helper()
	found, err := filepath.Glob(path + "*") // with -wal and -shm
	must(t, err)
	var all []byte
	for _, name := range found {
		content, err := os.ReadFile(name)
		must(t, err)
		all = append(all, content...)
	}
	return all
}

func makeFolder(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
}

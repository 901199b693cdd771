package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/events"
	"truebond/events/jetstream"
	"truebond/events/merkle"
)

// A laid log is a data folder that a server has written and left, and what a checker has
// kept of it.
type laid struct {
	t       *testing.T
	data    string
	key     string
	kept    string // a file with a checkpoint of its last event
	early   string // one with a checkpoint of its beginning
	earlyN  int
	receipt string // a file with a receipt
	bodies  [][]byte
}

func lay(t *testing.T) laid {
	t.Helper()
	home := t.TempDir()
	l := laid{t: t, data: filepath.Join(home, "data"), kept: filepath.Join(home, "kept"),
		early: filepath.Join(home, "early"), receipt: filepath.Join(home, "receipt.json")}
	t.Run("lay a log", func(t *testing.T) { // its end stops the server
		w := serveFrom(t, server.Options{Data: l.data, Listen: "127.0.0.1:0", TestClock: true})
		v, finance := w.witness(), w.staff("finance")
		l.key = v.key
		keep := func(name string) {
			write(t, name, w.checkpoint("Ledger-Position", w.position()).body)
		}
		keep(l.early)
		l.earlyN = int(v.sees().N)
		ann, bob := w.signsUp(), w.signsUp()
		for range 8 {
			ann.sends(bob, "hello")
		}
		keep(l.kept)
		write(t, l.receipt, w.ask("GET", "/api/audit/receipt/"+w.position(), finance, nil).is(200).body)
	})
	for _, r := range l.records() {
		l.bodies = append(l.bodies, r.Body)
	}
	return l
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l laid) openLog() *jetstream.Log {
	l.t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		l.t.Fatal(err)
	}
	log, err := jetstream.Open(l.t.Context(), jetstream.Options{Dir: l.data, Codec: codec})
	if err != nil {
		l.t.Fatal(err)
	}
	return log
}

func (l laid) records() []events.Record {
	l.t.Helper()
	log := l.openLog()
	defer log.Close()
	records, err := log.ReadRange(l.t.Context(), 0, 1000)
	if err != nil {
		l.t.Fatal(err)
	}
	return records
}

// copied is the same folder somewhere else, to be tampered with.
func (l laid) copied(t *testing.T) laid {
	t.Helper()
	l.t, l.data = t, filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(l.data, os.DirFS(filepath.Dir(l.kept)+"/data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(l.data, 0o700); err != nil {
		t.Fatal(err)
	}
	return l
}

// rewritten puts another log into the folder. Nothing but the events is other than it was.
func (l laid) rewritten(change func([]events.Record) []events.Record) {
	l.t.Helper()
	records := change(l.records())
	if err := os.RemoveAll(filepath.Join(l.data, "log")); err != nil {
		l.t.Fatal(err)
	}
	for i := range records {
		records[i].Position = uint64(i) + 1
	}
	log := l.openLog()
	defer log.Close()
	if err := log.Append(l.t.Context(), 0, records); err != nil {
		l.t.Fatal(err)
	}
}

// forgetSigningKey makes the vault one of a program that signed nothing.
func (l laid) forgetSigningKey() {
	l.t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(l.data, "vault.db"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	const forget = `UPDATE root SET record = CAST(json_remove(CAST(record AS TEXT), '$.signing_key') AS BLOB)`
	if _, err := db.Exec(forget); err != nil {
		l.t.Fatal(err)
	}
}

func (l laid) without(name string) {
	l.t.Helper()
	if err := os.RemoveAll(filepath.Join(l.data, name)); err != nil {
		l.t.Fatal(err)
	}
}

// runs is the program with these arguments: its exit code and what it has said.
func runs(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &out, &out)
	return code, out.String()
}

func (l laid) verifies(code int, said []string, args ...string) {
	l.t.Helper()
	got, printed := runs(l.t, append([]string{"verify", "--data", l.data}, args...)...)
	if got != code {
		l.t.Fatalf("verify %q ended with %d:\n%s", args, got, printed)
	}
	for _, words := range said {
		if !strings.Contains(printed, words) {
			l.t.Errorf("verify %q does not say %q:\n%s", args, words, printed)
		}
	}
}

// One log is laid for all of these, and each has a copy of it.
func TestWhoeverChecksALogOrAReceiptFindsWhatIsWrong(t *testing.T) {
	l := lay(t)
	for name, test := range map[string]func(*testing.T, laid){
		"a sound log":                      aSoundLogIsVerified,
		"a log that was tampered with":     aLogThatWasTamperedWithIsNotVerified,
		"a tree that was":                  aRottenTreeIsToldFromARottenLog,
		"a server that starts on such one": aServerRefusesALogThatIsNotWhatItSigned,
		"a receipt":                        aReceiptIsCheckedWithNothingButTheKey,
		"a flipped bit beside the log":     aFlippedBitBesideTheLogIsFound,
	} {
		t.Run(name, func(t *testing.T) { test(t, l.copied(t)) })
	}
}

func aSoundLogIsVerified(t *testing.T, l laid) {
	sound := []string{"The log is sound", "signed by the key", l.kept, l.early}
	l.verifies(exitDone, sound, "--checkpoint", l.kept, "--checkpoint", l.early, "--key", l.key)
	l.verifies(exitDone, []string{"give --key", "Nothing was compared that is kept elsewhere"})
	fresh := l.copied(t)
	fresh.without("tree")
	fresh.without("checkpoint")
	fresh.verifies(exitDone, sound, "--checkpoint", l.kept, "--checkpoint", l.early, "--key", l.key)
	l.verifies(exitMisused, []string{"not a verifier key"}, "--checkpoint", l.kept, "--key", "mine")
	l.verifies(exitFailed, []string{"no such file"}, "--checkpoint", "nowhere")
	foreign := filepath.Join(t.TempDir(), "foreign")
	write(t, foreign, []byte(merkle.Checkpoint{Origin: "truebond/another", Size: 3}.Text()+"\n"))
	l.verifies(exitFailed, []string{foreign + " is of truebond/another"}, "--checkpoint", foreign)
	l.verifies(exitMisused, []string{"one argument too many"}, "extra")
	t.Run("while a server runs", func(t *testing.T) {
		serveFrom(t, server.Options{Data: l.data, Listen: "127.0.0.1:0", TestClock: true})
		l.verifies(exitFailed, []string{"another server holds", "stop it first"})
	})
	code, said := runs(t, "verify", "--data", filepath.Join(t.TempDir(), "none"))
	if code != exitFailed || !strings.Contains(said, "there is no data folder") {
		t.Errorf("no folder: %d %s", code, said)
	}
}

// Each with the tree's files at hand, which tell the place exactly, and without, when the
// checkpoints that were kept tell between which events it is.
func aLogThatWasTamperedWithIsNotVerified(t *testing.T, l laid) {
	last := len(l.bodies)
	changed := func(at int) func([]events.Record) []events.Record {
		return func(r []events.Record) []events.Record {
			was := `"amount":1`
			after := bytes.Replace(r[at-1].Body, []byte(was), []byte(`"amount":2`), 1)
			if bytes.Equal(after, r[at-1].Body) {
				t.Fatalf("event %d has no %s: %s", at, was, after)
			}
			r[at-1].Body = after
			return r
		}
	}
	for name, c := range map[string]struct {
		change func([]events.Record) []events.Record
		exact  string // what it says when the tree is there
		rough  string // and when it is not
	}{
		"an amount was changed": {changed(last), "event 14: it is not the event that was signed", "one was changed, dropped or swapped"},
		"one was dropped": {func(r []events.Record) []events.Record { return slices.Delete(r, 9, 10) },
			"event 10: it is not the event that was signed", "event 14: the log is cut"},
		"two were swapped": {func(r []events.Record) []events.Record { r[12], r[13] = r[13], r[12]; return r },
			"event 13: it is not the event that was signed", "of the events 5 to 14 one was changed"},
		"the end was cut off": {func(r []events.Record) []events.Record { return r[:12] },
			"event 13: the log is cut: it ends before the checkpoint: it has 12 events, and 14 were signed", "event 13: the log is cut"},
		"one comes twice": {func(r []events.Record) []events.Record {
			twice := r[10]
			twice.Key += "'" // JetStream looks at the header, and readers at the body
			return slices.Insert(r, 11, twice)
		}, "event 12: its key", "was used before, by event 11"},
		"one cannot be read": {func(r []events.Record) []events.Record { r[4].Body = []byte(`{"key":`); return r },
			"event 5: an event in the log cannot be read", "event 5: an event in the log cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.copied(t)
			l.rewritten(c.change)
			l.verifies(exitFailed, []string{c.exact}, "--checkpoint", l.kept, "--key", l.key)
			l.verifies(exitFailed, []string{c.exact}) // by the folder's own checkpoint
			l.without("tree")
			l.without("checkpoint")
			l.verifies(exitFailed, []string{c.rough}, "--checkpoint", l.kept, "--checkpoint", l.early, "--key", l.key)
		})
	}
}

func aRottenTreeIsToldFromARottenLog(t *testing.T, l laid) {
	file := filepath.Join(l.data, "tree", "0")
	hashes, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hashes[4*32] ^= 1
	write(t, file, hashes)
	l.verifies(exitFailed, []string{"the log is right, but the Merkle tree", "from event 5 on"})
}

func aServerRefusesALogThatIsNotWhatItSigned(t *testing.T, l laid) {
	start := func(t *testing.T, l laid) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := server.Start(ctx, server.Options{Data: l.data, Listen: "127.0.0.1:0", TestClock: true})
		if err == nil {
			err = s.Stop(ctx)
		}
		return err
	}
	for name, c := range map[string]struct {
		harm func(l laid)
		says string
	}{
		"the end was cut off, and the views are gone": {func(l laid) {
			l.rewritten(func(r []events.Record) []events.Record { return r[:12] })
			l.without("views.db")
		}, "the log is shorter than the last checkpoint"},
		"the last one was changed, and the views are gone": {func(l laid) {
			l.rewritten(func(r []events.Record) []events.Record {
				i := len(r) - 1
				r[i].Body = bytes.Replace(r[i].Body, []byte(`"amount":1`), []byte(`"amount":2`), 1)
				return r
			})
			l.without("views.db")
		}, "is another one"},
		"the vault is from before the checkpoint": {func(l laid) { l.forgetSigningKey() },
			"checkpoints of the log were signed, but the vault lacks the key"},
		"the vault is another one": {func(l laid) {
			l.without("vault.db")
			l.without("vault.db-wal")
			l.without("vault.db-shm")
		}, "the vault"},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.copied(t)
			c.harm(l)
			if err := start(t, l); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it starts: %v", err)
			}
		})
	}
	t.Run("all is from before there were checkpoints", func(t *testing.T) {
		l := l.copied(t)
		l.forgetSigningKey()
		l.without("tree")
		l.without("checkpoint")
		if err := start(t, l); err != nil {
			t.Fatal(err)
		}
		l.verifies(exitFailed, []string{"not signed by this key"}, "--key", l.key) // the key is a new one
		l.verifies(exitDone, []string{"Its first 14 events are those of the checkpoint"})
	})
	t.Run("nothing is wrong", func(t *testing.T) {
		l := l.copied(t)
		l.without("tree")
		if err := start(t, l); err != nil {
			t.Error(err)
		}
	})
}

func aFlippedBitBesideTheLogIsFound(t *testing.T, l laid) {
	stream := filepath.Join(datafolder.LogFolder, "jetstream", "$G", "streams", "EVENTS")
	for name, says := range map[string][]string{
		datafolder.VaultFile:              {"the vault's file is damaged", "bytes ", datafolder.VaultFile},
		datafolder.ViewsFile:              {"the views' file is damaged", "bytes ", datafolder.ViewsFile},
		filepath.Join(stream, "meta.inf"): {"the log is right, but its settings are not", "meta.inf or meta.sum in "},
		filepath.Join(stream, "meta.sum"): {"the log is right, but its settings are not", "meta.inf or meta.sum in "},
	} {
		l := l.copied(t)
		path := filepath.Join(l.data, name)
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := bytes.Clone(sound)
		damaged[len(damaged)*3/4] ^= 4
		write(t, path, damaged)
		l.verifies(exitFailed, append(says, "The log is sound: 14 events"))
		write(t, path, sound)
		l.verifies(exitDone, nil)
	}
}

// What is wrong beside a sound log is not to be taken for a fault of the log.
func TestAVaultThatCannotBeAskedIsNoFaultOfTheLog(t *testing.T) {
	l := lay(t)
	const told = "the log is right, but whether people have their keys cannot be told"
	t.Run("a setting is wrong", func(t *testing.T) {
		t.Setenv("MONGO_URL", "nonsense")
		truebond(t, "", "verify", "--data", l.data).ends(t, exitFailed, told)
	})
	t.Run("the secret is another one", func(t *testing.T) {
		t.Setenv("JWT_SECRET", strings.Repeat("another ", 8))
		truebond(t, "", "verify", "--data", l.data).ends(t, exitDone, "nobody has tried: the secret that is at hand is not")
	})
	t.Run("there is no secret", func(t *testing.T) {
		l := l.copied(t)
		l.without(datafolder.JWTSecretFile)
		truebond(t, "", "verify", "--data", l.data).ends(t, exitDone, "nobody has tried: JWT_SECRET is empty, and there is no ")
	})
	t.Run("a key was destroyed that this log has not erased", func(t *testing.T) {
		l := l.copied(t)
		e := events.UserSignedUp{}
		for _, r := range l.records() {
			if signedUp, is := r.Data.(events.UserSignedUp); is {
				e = signedUp
			}
		}
		keys, err := server.OpenKeys(t.Context(), "", datafolder.Folder{Path: l.data})
		if err == nil {
			err = errors.Join(keys.Destroy(t.Context(), e.User), keys.Close(t.Context()))
		}
		if err != nil {
			t.Fatal(err)
		}
		truebond(t, "", "verify", "--data", l.data).ends(t, exitDone, "Of 1 person more the keys were destroyed")
	})
	t.Run("the file is another program's", func(t *testing.T) {
		vault := filepath.Join(l.data, datafolder.VaultFile)
		if err := os.Remove(vault); err != nil {
			t.Fatal(err)
		}
		other, err := sql.Open("sqlite3", "file:"+vault)
		if err == nil {
			_, err = other.ExecContext(t.Context(), "PRAGMA application_id = 1; CREATE TABLE t (x)")
			err = errors.Join(err, other.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		truebond(t, "", "verify", "--data", l.data).ends(t, exitFailed, told)
	})
}

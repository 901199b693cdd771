package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/wording"
	"truebond/events"
	"truebond/events/jetstream"
)

// prepared is a data folder with some events, all but the last few archived.
func prepared(t *testing.T) (k *keeper, archived uint64) {
	t.Helper()
	k = newKeeper(t)
	k.serves("serve", k.data, func(w *world) {
		w.signsUp()
		w.grows()
		archived = w.archives()
	})
	alone := &keeper{t: t, data: k.data, archive: server.Nowhere, grown: k.grown}
	alone.serves("without the archive", k.data, (*world).grows)
	k.grown = alone.grown
	return k, archived
}

// damage flips one bit of an event's body in the log's files.
func damage(t *testing.T, data string, body []byte) {
	t.Helper()
	done := false
	err := filepath.WalkDir(filepath.Join(data, datafolder.LogFolder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || done || filepath.Ext(path) != ".blk" {
			return err
		}
		content, err := os.ReadFile(path)
		at := bytes.Index(content, body)
		if err != nil || at < 0 {
			return err
		}
		content[at+len(body)/2] ^= 1
		done = true
		return os.WriteFile(path, content, 0o600)
	})
	if err != nil || !done {
		t.Fatalf("the event is in no file: %v", err)
	}
}

func TestALogIsRepairedOrMadeAnew(t *testing.T) {
	t.Parallel() // it mostly waits
	k, archived := prepared(t)
	before := bodies(t, embeddedIn(k.data))
	if len(before) < int(archived)+2 {
		t.Fatalf("the log ends at %d and its archive at %d", len(before), archived)
	}
	for name, test := range map[string]func(*testing.T, *keeper, [][]byte, int){
		"a sound log stays as it is":          aSoundLogStaysAsItIs,
		"a damaged log is repaired":           aDamagedLogIsRepaired,
		"a loss is told of first":             aLossIsToldOfFirst,
		"a restore that is cut off":           aRestoreThatIsCutOff,
		"an archive is held to its signature": anArchiveIsHeldToItsSignature,
		"a log that is gone":                  aLogThatIsGone,
		"a folder that is gone":               aFolderThatIsGone,
		"a log that is set back is another":   aLogThatIsSetBackIsCalledAnother,
		"what a newer program wrote is kept":  whatANewerProgramWroteIsKept,
		"what is behind the signature":        whatIsBehindTheSignatureIsNotTaken,
		"what a kill left unsigned":           whatAKillLeftUnsignedIsArchivedAndSigned,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := &keeper{t: t, data: filepath.Join(t.TempDir(), "data"), archive: t.TempDir(), grown: k.grown}
			if err := os.CopyFS(mine.data, os.DirFS(k.data)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(mine.data, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(mine.archive, os.DirFS(k.archive)); err != nil {
				t.Fatal(err)
			}
			test(t, mine, before, int(archived))
		})
	}
}

func aSoundLogStaysAsItIs(t *testing.T, k *keeper, before [][]byte, _ int) {
	k.restore(k.data).ends(t, exitDone, "Nothing was changed")
	k.restore(k.data, "--until", "3").ends(t, exitFailed, "a data folder of its own")
	same(t, bodies(t, embeddedIn(k.data)), before, len(before))
}

func (k *keeper) restore(data string, more ...string) said {
	k.t.Helper()
	return truebond(k.t, "", append([]string{"restore", "--from", k.archive, "--data", data}, more...)...)
}

func aDamagedLogIsRepaired(t *testing.T, k *keeper, before [][]byte, _ int) {
	for _, body := range before[4:7] { // as one sector of a disk that is bad
		damage(t, k.data, body)
	}
	k.restore(k.data).ends(t, exitDone, "3 events are damaged, from event 5 on")
	same(t, bodies(t, embeddedIn(k.data)), before, len(before))
	if _, err := os.Stat(filepath.Join(k.data, datafolder.LogFolder+".damaged-1")); err != nil {
		t.Errorf("the damaged log is not there any more: %v", err)
	}
	k.serves("go on", k.data, func(w *world) {
		w.grows()
		w.archives()
	})
}

func aLossIsToldOfFirst(t *testing.T, k *keeper, before [][]byte, archived int) {
	damage(t, k.data, before[archived])
	k.restore(k.data).ends(t, exitFailed, wording.EventRange(uint64(archived+1), uint64(len(before)))+" cannot be kept")
	k.restore(k.data, "--accept-loss").ends(t, exitDone, "Lost: ")
	same(t, bodies(t, embeddedIn(k.data)), before, archived)
	_, err := server.Start(t.Context(), server.Options{Data: k.data, Listen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "it ends at") {
		t.Errorf("with views that are ahead of the log it says %v", err)
	}
	for _, views := range []string{"views.db", "views.db-wal", "views.db-shm"} {
		if err := os.Remove(filepath.Join(k.data, views)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	k.serves("go on", k.data, func(w *world) {
		w.grows()
		w.archives()
	})
	truebond(t, "", "verify", "--data", k.data).ends(t, exitDone, "sound")
}

// An operator who has gone back to an older program is not to take for damage what that cannot read.
func whatANewerProgramWroteIsKept(t *testing.T, k *keeper, before [][]byte, _ int) {
	last := len(before)
	onLog(t, embeddedIn(k.data), func(log *jetstream.Log) { appendNewer(t, log, uint64(last)) })
	const why = "a newer program has written it"
	_, err := server.Start(t.Context(), server.Options{Data: k.data, Listen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("a server says %v", err)
	}
	k.restore(k.data, "--accept-loss").ends(t, exitFailed, why)
	if after := bodies(t, embeddedIn(k.data)); len(after) != last+1 {
		t.Errorf("the log has %d events, and had %d", len(after), last+1)
	}
}

// appendNewer puts an event of a type that this program does not know behind the last one.
func appendNewer(t *testing.T, log *jetstream.Log, last uint64) {
	t.Helper()
	r, err := log.Read(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	r.Position, r.Key = last+1, "of a newer program"
	r.Body = bytes.Replace(r.Body, []byte(`"type":"`), []byte(`"type":"newer.`), 1)
	if err := log.Append(t.Context(), last, []events.Record{r}); err != nil {
		t.Fatal(err)
	}
}

func aLogThatIsGone(t *testing.T, k *keeper, before [][]byte, archived int) {
	isGone(t, k, "jetstream", before, archived)
}

func aFolderThatIsGone(t *testing.T, k *keeper, before [][]byte, archived int) {
	isGone(t, k, "", before, archived)
}

// isGone demands that a log is restored whose folder is gone, or some of it, and that what the archive
// lacks of it is told.
func isGone(t *testing.T, k *keeper, what string, before [][]byte, archived int) {
	if err := os.RemoveAll(filepath.Join(k.data, datafolder.LogFolder, what)); err != nil {
		t.Fatal(err)
	}
	k.restore(k.data).ends(t, exitFailed, wording.EventRange(uint64(archived+1), uint64(len(before)))+" cannot be kept")
	k.restore(k.data, "--accept-loss").ends(t, exitDone, "Lost: ")
	same(t, bodies(t, embeddedIn(k.data)), before, archived)
}

func aRestoreThatIsCutOff(t *testing.T, k *keeper, before [][]byte, archived int) {
	folder := datafolder.Folder{Path: newData(t, k.data)}
	refuses := func(when string) {
		t.Helper()
		_, err := server.Start(t.Context(), server.Options{Data: folder.Path, Listen: "127.0.0.1:0"})
		if err == nil || !strings.Contains(err.Error(), "was cut off") {
			t.Fatalf("%s a server says %v", when, err)
		}
		truebond(t, "", "archive", "--data", folder.Path, "--to", t.TempDir()).ends(t, exitFailed, "was cut off")
		truebond(t, "", "verify", "--data", folder.Path).ends(t, exitFailed, "was cut off")
	}
	objects, err := filepath.Glob(filepath.Join(k.archive, "log", "*.zst"))
	if err != nil || len(objects) == 0 {
		t.Fatal("the archive is empty", err)
	}
	content, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	for what, harmed := range map[string][]byte{"flipped": append([]byte("x"), content[1:]...), "cut": content[:90]} {
		if err := os.WriteFile(objects[0], harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		k.restore(folder.Path).ends(t, exitFailed, "damaged")
		truebond(t, "", "verify", "--archive", k.archive).ends(t, exitFailed, "damaged")
		refuses("after a restore from an archive that is " + what)
	}
	if err := os.WriteFile(objects[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	k.restore(folder.Path).ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(folder.Path)), before, archived)

	// Cut off at the very end: whole, but not where it belongs.
	if err := os.MkdirAll(folder.Join(datafolder.RestoringFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder.Join(datafolder.LogFolder), filepath.Join(folder.Join(datafolder.RestoringFolder), datafolder.LogFolder)); err != nil {
		t.Fatal(err)
	}
	if err := folder.MarkRestore(datafolder.RestoreWhole); err != nil {
		t.Fatal(err)
	}
	refuses("before the log is where it belongs")
	k.restore(folder.Path, "--until", "3").ends(t, exitDone, "completes it, and does no other")
	same(t, bodies(t, embeddedIn(folder.Path)), before, archived)
}

func aLogThatIsSetBackIsCalledAnother(t *testing.T, k *keeper, before [][]byte, archived int) {
	signed, err := filepath.Glob(filepath.Join(k.archive, "log", "*.checkpoint"))
	if err != nil || len(signed) != 1 {
		t.Fatalf("there are the checkpoints %v: %v", signed, err)
	}
	if err := os.Remove(signed[0]); err != nil { // as an archive has none that ends before the first was signed
		t.Fatal(err)
	}
	data := newData(t, k.data)
	k.restore(data, "--unsigned", "--until", fmt.Sprint(archived+1)).ends(t, exitMisused, "which ends at position "+fmt.Sprint(archived))
	k.restore(data, "--unsigned", "--until", "3").ends(t, exitDone, "it is another log, and needs an archive of its own")
	same(t, bodies(t, embeddedIn(data)), before, 3)
}

// erasure is a log in which somebody was erased, its archive, and the vault from before.
func erasure(t *testing.T) (k *keeper, gone string, vaultBefore string, beforeErasure uint64) {
	t.Helper()
	k = newKeeper(t)
	k.serves("sign up", k.data, func(w *world) {
		p := plants(w, w.signsUp())
		gone, beforeErasure = p.id, w.archives()
	})
	vaultBefore = newData(t, k.data)
	k.serves("erase", k.data, func(w *world) {
		w.operate("/api/operator/erase", map[string]any{"user_id": gone, "reason": "asked for"}).is(200)
		w.archives()
	})
	return k, gone, vaultBefore, beforeErasure
}

// erasedFor demands that somebody is erased on a restored log, for all to see.
func erasedFor(t *testing.T, data, gone string) {
	t.Helper()
	t.Run("serve", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
		w.logsIn(planted["email"], planted["password"]).is(401)
		w.ask("GET", "/api/admin/audit?type=user.erased", w.staff("admin"), nil).is(200).says("data.0.subjects.0", gone)
	})
	keys, err := server.OpenKeys(t.Context(), "", datafolder.Folder{Path: data})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := keys.Keys(t.Context(), []string{gone})
	if err != nil || len(found) != 1 || !found[0].Erased || found[0].Wrapped != nil {
		t.Errorf("the vault has %v: %v", found, err)
	}
	if err := keys.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	texts := plantedTexts(plantedBody)
	searchFiles(t, data, texts)
}

func TestRestoringBringsNoErasedPersonBack(t *testing.T) {
	t.Parallel() // it mostly waits
	k, gone, vaultBefore, before := erasure(t)
	until := fmt.Sprint(before)
	t.Run("the new log beside an old vault", func(t *testing.T) {
		t.Parallel()
		data := newData(t, vaultBefore)
		truebond(t, "", "restore", "--from", k.archive, "--data", data).ends(t, exitDone, "")
		erasedFor(t, data, gone)
	})
	t.Run("an old log beside the new vault", func(t *testing.T) {
		t.Parallel()
		data := newData(t, k.data)
		truebond(t, "", "restore", "--from", k.archive, "--data", data, "--until", until).ends(t, exitDone, "1 person was erased later")
		erasedFor(t, data, gone)
	})
	t.Run("an old log beside an old vault", func(t *testing.T) {
		t.Parallel()
		data := newData(t, vaultBefore)
		truebond(t, "", "restore", "--from", k.archive, "--data", data, "--until", until).ends(t, exitDone, "erased again")
		erasedFor(t, data, gone)
	})
	t.Run("a log from before they came", func(t *testing.T) {
		t.Parallel()
		data := newData(t, vaultBefore)
		truebond(t, "", "restore", "--from", k.archive, "--data", data, "--until", "2").ends(t, exitDone, "erased again")
		t.Run("serve", func(t *testing.T) {
			serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"}).grows()
		})
		if _, err := os.Stat(datafolder.Folder{Path: data}.Join("erase-again")); err == nil {
			t.Error("the erasures are still to be done")
		}
	})
}

func TestALogIsRestoredUntilAMoment(t *testing.T) {
	t.Parallel() // it mostly waits
	k := newKeeper(t)
	var moment time.Time
	var email string
	var position uint64
	k.serves("serve", k.data, func(w *world) {
		email = w.signsUp().email
		position = w.archives()
		time.Sleep(5 * time.Millisecond) // events have whole milliseconds
		moment = time.Now()
		time.Sleep(5 * time.Millisecond)
		w.grows()
		w.archives()
	})
	data := newData(t, k.data)
	truebond(t, "", "restore", "--from", k.archive, "--data", data, "--until", moment.UTC().Format(time.RFC3339Nano)).
		ends(t, exitDone, fmt.Sprintf("Restored and read back: %d events.", position))
	same(t, bodies(t, embeddedIn(data)), bodies(t, embeddedIn(k.data)), int(position))
	truebond(t, "", "restore", "--from", k.archive, "--data", newData(t, k.data), "--until", "1999-11-25T12:00:00Z").
		ends(t, exitMisused, "--until 1999-11-25T12:00:00Z is before the first event, which is of")
	// What many programs write for no time at all does not mean all of the log.
	truebond(t, "", "restore", "--from", k.archive, "--data", newData(t, k.data), "--until", "0001-01-01T00:00:00Z").
		ends(t, exitMisused, "--until takes a position or a moment such as")
	t.Run("its archive is another one", func(t *testing.T) {
		_, err := server.Start(t.Context(), server.Options{Data: data, Listen: "127.0.0.1:0", Archive: k.archive})
		if err == nil || !strings.Contains(err.Error(), "the archive has more than the log") {
			t.Errorf("beside the old archive it says %v", err)
		}
		w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", Archive: t.TempDir()})
		w.logsIn(email, password).is(200)
		w.archives()
	})
}

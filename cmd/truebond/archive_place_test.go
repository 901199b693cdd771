package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
)

// alone runs a test in an empty folder, without any setting in the environment.
func alone(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range settings.Names() {
		t.Setenv(name, "")
	}
}

func TestAnArchiveOfNothingMakesNoFolder(t *testing.T) {
	alone(t)
	to := filepath.Join(t.TempDir(), "archive")
	truebond(t, "", "archive", "--data", filepath.Join(t.TempDir(), "none"), "--to", to).
		ends(t, exitFailed, "there is no data folder")
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Errorf("the archive's folder is there: %v", err)
	}
}

func TestAnArchiveIsNotKeptAmongTheLogsFiles(t *testing.T) {
	alone(t)
	data := t.TempDir()
	truebond(t, "", "serve", "--data", data, "--listen", "127.0.0.1:0", "--archive", data+"/.").
		ends(t, exitMisused, "the data folder itself")
	truebond(t, "", "archive", "--data", data, "--to", data).ends(t, exitMisused, "the data folder itself")
	log := filepath.Join(data, "log") // the server has made it
	link := filepath.Join(t.TempDir(), "backup")
	if err := os.Symlink(log, link); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{log, filepath.Join(log, "archive", "here"), link, filepath.Join(link, "archive")} {
		truebond(t, "", "archive", "--data", data, "--to", place).ends(t, exitMisused, "nor in its log")
	}
}

// Else it would be taken for an empty one, and nobody would notice that the log has lost events.
func TestTheFolderOfAnArchiveMayBeALink(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(k.archive, link); err != nil {
		t.Fatal(err)
	}
	k.archive = link
	k.serves("serve", k.data, func(w *world) {
		w.grows()
		w.archives()
		w.grows()
		w.archives()
	})
	_, err := server.Start(t.Context(), server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", Archive: link})
	if err == nil || !strings.Contains(err.Error(), "the archive has more than the log") {
		t.Errorf("an empty log beside it: %v", err)
	}
	truebond(t, "", "verify", "--archive", link).ends(t, exitDone, "sound")
	restored := newData(t, k.data)
	k.restore(restored).ends(t, exitDone, "Restored and read back")
}

// An archive that cannot be reached is no reason not to serve.
func TestAServerServesWhileItsArchiveCannotBeReached(t *testing.T) {
	t.Parallel()
	w := serveFrom(t, server.Options{Data: t.TempDir(), Listen: "127.0.0.1:0", Archive: server.InBucket, Settings: &settings.Settings{
		CloudStorageProvider: "http://127.0.0.1:1", CloudStorageKey: "k", CloudStorageSecret: "s", CloudStorageBucket: "b"}})
	w.grows()
	body := w.ask("GET", "/readyz", "", nil).is(200).body
	if !strings.Contains(string(body), "behind, and failing") {
		t.Errorf("readyz says %s", body)
	}
	why := w.operate("/api/operator/archive", nil).is(503).says("code", "archive_failing").get("detail")
	if !strings.Contains(why, "127.0.0.1:1") {
		t.Errorf("an operator is told %q", why)
	}
}

// As when the disk of the archive is not mounted any more, and its folder is empty.
func TestAnArchiveThatIsGoneForAWhileHasNoGap(t *testing.T) {
	t.Parallel() // it mostly waits
	k := newKeeper(t)
	segments, aside := filepath.Join(k.archive, "log"), filepath.Join(t.TempDir(), "aside")
	k.serves("serve", k.data, func(w *world) {
		w.grows()
		w.archives()
		if err := os.Rename(segments, aside); err != nil {
			t.Fatal(err)
		}
		w.grows()
		w.operate("/api/operator/archive", nil).is(503).says("code", "archive_failing")
		if left, err := os.ReadDir(k.archive); err != nil || len(left) > 0 {
			t.Errorf("it has put %v: %v", left, err)
		}
		if err := os.Rename(aside, segments); err != nil {
			t.Fatal(err)
		}
		w.archives()
	})
	truebond(t, "", "verify", "--archive", k.archive).ends(t, exitDone, "sound")
}

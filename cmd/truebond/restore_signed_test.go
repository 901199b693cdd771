package main

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"truebond/cmd/truebond/server"
	"truebond/commands/blob"
	"truebond/events/archive"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
)

func anArchiveIsHeldToItsSignature(t *testing.T, k *keeper, _ [][]byte, _ int) {
	other := newKeeper(t)
	other.serves("another", other.data, func(w *world) {
		w.grows()
		w.archives()
	})
	restored := newData(t, k.data) // with the key of k's log
	other.restore(restored).ends(t, exitFailed, "not signed by this key")
	k.restore(restored, "--until", "yesterday").ends(t, exitMisused, "--until")
	k.restore(restored).ends(t, exitDone, "")
	other.restore(restored, "--unsigned").ends(t, exitFailed, "no event is the same")
}

// Somebody who can write the archive, and has not the key, puts events behind what was signed.
func whatIsBehindTheSignatureIsNotTaken(t *testing.T, k *keeper, before [][]byte, archived int) {
	store, err := blob.ExistingFolder(k.archive)
	if err != nil {
		t.Fatal(err)
	}
	onLog(t, embeddedIn(k.data), func(log *jetstream.Log) {
		other, err := archive.Resume(t.Context(), store, log, slog.New(slog.DiscardHandler))
		if err == nil {
			err = other.Keep(t.Context(), uint64(len(before)))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	refusal := fmt.Sprintf("the events %d to %d, which no signed checkpoint covers", archived+1, len(before))
	truebond(t, "", "verify", "--archive", k.archive).ends(t, exitDone,
		fmt.Sprintf("No checkpoint covers the events %d to %d.", archived+1, len(before)))
	data := newData(t, k.data)
	for _, until := range []string{fmt.Sprint(archived + 1), "2100-01-01T00:00:00Z"} {
		k.restore(data, "--until", until).ends(t, exitFailed, refusal)
	}
	k.restore(data).ends(t, exitFailed, refusal)
	k.restore(data, "--until", fmt.Sprint(archived)).ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(data)), before, archived)

	k.restore(data).ends(t, exitFailed, refusal) // that log lacks what is behind the signature
	same(t, bodies(t, embeddedIn(data)), before, archived)

	all := newData(t, k.data)
	k.restore(all, "--unsigned").ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(all)), before, len(before))
}

// A kill may come before the last events are signed for.
func whatAKillLeftUnsignedIsArchivedAndSigned(t *testing.T, k *keeper, before [][]byte, _ int) {
	signed, err := filepath.Glob(filepath.Join(k.archive, "log", "*.checkpoint"))
	if err != nil || len(signed) != 1 {
		t.Fatalf("there are the checkpoints %v: %v", signed, err)
	}
	older, err := os.ReadFile(signed[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(k.data, checkpoints.File), older)
	truebond(t, "", "archive", "--data", k.data, "--to", k.archive).ends(t, exitDone, fmt.Sprint("up to position ", len(before)))
	data := newData(t, k.data)
	k.restore(data).ends(t, exitDone, "")
	same(t, bodies(t, embeddedIn(data)), before, len(before))
}

// Erasing has no way back, so that it needs more than what anybody can put behind the archive's signature.
func TestAnErasureThatNobodyHasSignedIsNotRepeatedUnasked(t *testing.T) {
	t.Parallel() // it mostly waits
	k, gone, _, before := erasure(t)
	var earlier string
	t.Run("ask for an earlier checkpoint", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: k.data, Listen: "127.0.0.1:0"})
		w.checkpoint()
		earlier = w.ask("GET", fmt.Sprintf("/api/audit/proof/1?size=%d", before), "", nil).is(200).get("checkpoint")
	})
	signed, err := filepath.Glob(filepath.Join(k.archive, "log", "*.checkpoint"))
	if err != nil || len(signed) != 1 {
		t.Fatalf("there are the checkpoints %v: %v", signed, err)
	}
	if err := os.Remove(signed[0]); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%020d-%x.checkpoint", before, sha256.Sum256([]byte(earlier)))
	write(t, filepath.Join(k.archive, "log", name), []byte(earlier))
	data := newData(t, k.data)
	k.restore(data, "--until", fmt.Sprint(before)).ends(t, exitFailed, "behind its signed checkpoint that 1 person was erased")
	k.restore(data, "--until", fmt.Sprint(before), "--unsigned").ends(t, exitDone, "1 person was erased later")
	erasedFor(t, data, gone)
}

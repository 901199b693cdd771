package checkpoints

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"truebond/events"
	"truebond/events/jetstream"
	"truebond/events/merkle"
)

func TestTheTreeFollowsTheLogAndOutlivesRestarts(t *testing.T) {
	f := newFolder(t)
	total := 0
	for _, more := range []int{1, 2, 253, 1, 300, 1000} { // over the edges of tiles
		f.append(more)
		total += more
		tree := f.open()
		stop := running(t, tree)
		f.covers(tree, total)
		f.append(5)
		total += 5
		f.covers(tree, total)
		stop()
	}
	if tree := f.open(); tree.Signed() == nil || tree.Signed().Size != uint64(total) {
		t.Fatal("a tree that is whole does not serve at once")
	}
}

// covers waits until a checkpoint covers so many events, and checks it by RFC 6962's own
// definition.
func (f *folder) covers(tree *Tree, size int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	if err := tree.Await(ctx, uint64(size)); err != nil {
		f.t.Fatalf("no checkpoint covers %d events: %v", size, err)
	}
	signed := tree.Signed()
	c, err := merkle.OpenCheckpoint(signed.Note, tree.Key())
	if err != nil || c != signed.Checkpoint {
		f.t.Fatalf("the checkpoint is %+v, %v", c, err)
	}
	if want := rfcRoot(f.bodies[:c.Size]); c.Root != want {
		f.t.Fatalf("the root of %d events is %v and must be %v", c.Size, c.Root, want)
	}
}

func TestEveryProofIsGoodByTheRFCsOwnAlgorithm(t *testing.T) {
	f := newFolder(t)
	const events = 700
	f.append(events)
	tree := f.open()
	defer running(t, tree)()
	f.covers(tree, events)
	rapid.Check(t, func(t *rapid.T) {
		size := uint64(rapid.IntRange(1, events).Draw(t, "size"))
		index := uint64(rapid.IntRange(0, int(size)-1).Draw(t, "index"))
		at, err := tree.At(size)
		if err != nil {
			t.Fatal(err)
		}
		if at.Root != rfcRoot(f.bodies[:size]) {
			t.Fatalf("the root of %d is %v", size, at.Root)
		}
		if c, err := merkle.OpenCheckpoint(at.Note, tree.Key()); err != nil || c != at.Checkpoint {
			t.Fatalf("the checkpoint of %d: %v", size, err)
		}
		leaf, path, err := tree.Inclusion(index, at.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		if leaf != sha256.Sum256(append([]byte{0}, f.bodies[index]...)) {
			t.Fatalf("the leaf of %d is %v", index, leaf)
		}
		if got := rootFrom(leaf, index, size, path); got != at.Root {
			t.Fatalf("the path of %d in %d leads to %v", index, size, got)
		}
		later, err := tree.Consistency(index+1, size)
		if err != nil {
			t.Fatal(err)
		}
		if !isConsistent(index+1, size, rfcRoot(f.bodies[:index+1]), at.Root, later) {
			t.Fatalf("%d is not proved to begin with %d", size, index+1)
		}
	})
}

func TestATreeThatIsLostOrDamagedIsBuiltAgain(t *testing.T) {
	for name, harm := range map[string]func(dir string) error{
		"removed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, treeFolder)) },
		"cut":     func(dir string) error { return os.Truncate(filepath.Join(dir, treeFolder, "0"), 100) },
		"zeroed": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, treeFolder, "1"), make([]byte, 64), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			f.append(600)
			tree := f.open()
			stop := running(t, tree)
			f.covers(tree, 600)
			was := tree.Signed().Note
			stop()
			if err := harm(f.dir); err != nil {
				t.Fatal(err)
			}
			tree = f.open()
			if tree.Signed() != nil {
				t.Fatal("a tree that is not there serves")
			}
			defer running(t, tree)()
			f.covers(tree, 600)
			if got := tree.Signed().Note; !bytes.Equal(got, was) {
				t.Errorf("the checkpoint was\n%s\nand is\n%s", was, got)
			}
		})
	}
}

// What follows the log may see more than is signed. Whatever a crash leaves behind the
// last checkpoint is written anew.
func TestWhatACrashLeavesBehindTheCheckpointIsNotBelieved(t *testing.T) {
	f := newFolder(t)
	f.append(300)
	tree := f.open()
	stop := running(t, tree)
	f.covers(tree, 300)
	stop()
	for _, level := range []string{"0", "1"} {
		file, err := os.OpenFile(filepath.Join(f.dir, treeFolder, level), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	f.append(300)
	tree = f.open()
	defer running(t, tree)()
	f.covers(tree, 600)
}

func TestALogThatIsNotWhatWasSignedIsRefused(t *testing.T) {
	signed := func(t *testing.T) *folder {
		f := newFolder(t)
		f.append(300)
		tree := f.open()
		stop := running(t, tree)
		f.covers(tree, 300)
		stop()
		return f
	}
	t.Run("cut", func(t *testing.T) {
		f := signed(t)
		f.replaceLog(f.records[:299])
		f.refuses(ErrCut, "299 events, and 300")
	})
	t.Run("its last event is another one", func(t *testing.T) {
		f := signed(t)
		f.replaceLog(append(f.records[:299:299], f.record(300, "other")))
		f.refuses(ErrChanged, "event 300")
	})
	t.Run("an earlier one is, and the tree is gone", func(t *testing.T) {
		f := signed(t)
		changed := append([]events.Record(nil), f.records...)
		changed[9] = f.record(10, "other")
		f.replaceLog(changed)
		if err := os.RemoveAll(filepath.Join(f.dir, treeFolder)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := f.open().Run(ctx); !errors.Is(err, ErrChanged) {
			t.Errorf("the tree was built: %v", err)
		}
	})
	t.Run("the key is another one", func(t *testing.T) {
		f := signed(t)
		f.seed = 9
		f.refuses(ErrForeign, "another key")
	})
}

func TestARottenTreeProvesNothingWrong(t *testing.T) {
	f := newFolder(t)
	f.append(600)
	tree := f.open()
	defer running(t, tree)()
	f.covers(tree, 600)
	file, err := os.OpenFile(filepath.Join(f.dir, treeFolder, "0"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte{0xff, 0xfe}, 100*32); err != nil { // the leaf of event 101
		t.Fatal(err)
	}
	now := tree.Signed().Checkpoint
	if _, _, err := tree.Inclusion(100, now); !errors.Is(err, ErrDamaged) {
		t.Errorf("the rotten leaf is proved: %v", err)
	}
	if _, _, err := tree.Inclusion(500, now); err != nil {
		t.Errorf("a sound leaf is not: %v", err)
	}
	if _, err := tree.Tile(0, 0, 256); !errors.Is(err, ErrDamaged) {
		t.Errorf("the rotten tile is served: %v", err)
	}
	if _, err := tree.At(150); !errors.Is(err, ErrDamaged) {
		t.Errorf("what has the rotten leaf is signed: %v", err)
	}
}

// A folder is a data folder with a log of its own.
type folder struct {
	t       *testing.T
	dir     string
	seed    byte
	codec   *events.Codec
	log     *jetstream.Log
	records []events.Record
	bodies  [][]byte
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	codec, err := events.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	f := &folder{t: t, dir: t.TempDir(), seed: 1, codec: codec}
	f.openLog(f.dir)
	return f
}

func (f *folder) openLog(dir string) {
	f.t.Helper()
	log, err := jetstream.Open(f.t.Context(), jetstream.Options{Dir: dir, Codec: f.codec})
	if err != nil {
		f.t.Fatal(err)
	}
	f.log = log
	f.t.Cleanup(func() { log.Close() })
}

// replaceLog makes a log of other events, which the tree's folder knows nothing of.
func (f *folder) replaceLog(records []events.Record) {
	f.t.Helper()
	f.openLog(f.t.TempDir())
	if err := f.log.Append(f.t.Context(), 0, records); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) record(position int, key string) events.Record {
	f.t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := events.Event{
		Position: uint64(position), Key: fmt.Sprintf("%s/%d", key, position), Time: now, Effective: now,
		Actor: events.Actor{Kind: events.ActorApp, ID: "key_1"},
		Data:  events.UserBlocked{},
	}
	body, err := f.codec.Encode(e)
	if err != nil {
		f.t.Fatal(err)
	}
	return events.Record{Event: e, Body: body}
}

func (f *folder) append(count int) {
	f.t.Helper()
	after := len(f.records)
	for range count {
		r := f.record(len(f.records)+1, "k")
		f.records, f.bodies = append(f.records, r), append(f.bodies, r.Body)
	}
	if err := f.log.Append(f.t.Context(), uint64(after), f.records[after:]); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) tryOpen() (*Tree, error) {
	signer, err := merkle.NewSigner(bytes.Repeat([]byte{f.seed}, merkle.SeedBytes))
	if err != nil {
		f.t.Fatal(err)
	}
	return Open(f.t.Context(), f.dir, signer, f.log, slog.New(slog.DiscardHandler))
}

func (f *folder) open() *Tree {
	f.t.Helper()
	tree, err := f.tryOpen()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { tree.Close() })
	return tree
}

func (f *folder) refuses(want error, says string) {
	f.t.Helper()
	if _, err := f.tryOpen(); !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		f.t.Errorf("it opens: %v", err)
	}
}

// running runs a tree until it is told to stop.
func running(t *testing.T, tree *Tree) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tree.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the tree ended with %v", err)
		}
	}
}

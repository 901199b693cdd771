// Package checkpoints keeps the log's Merkle tree in files as the log grows, signs what
// the log was like, and proves what is in it.
//
// The tree follows from the log and may be thrown away; it is built again. The last
// signed checkpoint does not follow from it: it is the promise that the log is held to.
package checkpoints

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"truebond/events/merkle"
)

// File is the name of the last signed checkpoint in a data folder.
const File = "checkpoint"

const (
	treeFolder = "tree"

	// signPause is the time between two checkpoints. It bounds what signing costs while
	// the log grows fast, and leaves most of the second that a checkpoint may be behind.
	signPause = 200 * time.Millisecond

	// gatherPause lets events come together that are hashed and written at once: the tree
	// is to cost those who wait for the log as little as can be.
	gatherPause = 20 * time.Millisecond

	retryPause = time.Second // after the disk or the log has failed
	batchMax   = 1000        // events hashed at a time
)

// Why a log is not served.
var (
	// ErrCut says that the log ends before the last checkpoint that was signed.
	ErrCut = errors.New("the log is shorter than the last checkpoint that was signed for it")
	// ErrChanged says that an event is not the one that a checkpoint was signed for.
	ErrChanged = errors.New("the log is not the one that the last checkpoint was signed for")
	// ErrForeign says that the folder's checkpoint is signed by another key than the vault's.
	ErrForeign = errors.New("the last checkpoint was signed with another key than the vault has")
	// ErrDamaged says that the tree's own files are not as they were written.
	ErrDamaged = errors.New("the files of the Merkle tree are damaged: stop the server, remove its folder " +
		treeFolder + ", and it is built again")
)

// A Log is what a tree needs of the events' log.
type Log interface {
	Last(ctx context.Context) (uint64, error)
	// Settled reads the exact bytes of an event, once it and all before it are on disk.
	Settled(ctx context.Context, position uint64) ([]byte, error)
	FollowBodies(ctx context.Context, after uint64, max int, yield func(after uint64, bodies [][]byte) error) error
}

// A Tree is the log's Merkle tree. Run makes it grow; all else may be called meanwhile.
type Tree struct {
	dir    string
	signer *merkle.Signer
	log    Log
	logger *slog.Logger

	mu    sync.Mutex // guards edge, and what is added to hashes
	edge  merkle.Tree
	files *hashes

	kept   *merkle.Signed                // what had been signed when the server started; nil: nothing
	signed atomic.Pointer[merkle.Signed] // nil while the tree is built
	grown  chan struct{}                 // says that there is something to sign
	news   broadcast                     // says that something was signed
}

// HasCheckpoint tells whether one was ever signed in a data folder.
func HasCheckpoint(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Open opens the tree in a data folder. It looks whether the log is the one that the last
// checkpoint was signed for, as far as a few reads can tell. A tree that is not there, or
// not as the checkpoint says, is built by Run.
//
// Errors: ErrCut, ErrChanged, ErrForeign, or what the disk and the log say.
func Open(ctx context.Context, dir string, signer *merkle.Signer, log Log, logger *slog.Logger) (_ *Tree, err error) {
	t := &Tree{dir: dir, signer: signer, log: log, logger: logger, grown: make(chan struct{}, 1)}
	if t.kept, err = readCheckpoint(dir, signer.VerifierKey()); err != nil {
		return nil, err
	}
	if t.files, err = openHashes(filepath.Join(dir, treeFolder)); err != nil {
		return nil, fmt.Errorf("open the Merkle tree: %w", err)
	}
	if err := t.compare(ctx); err != nil {
		return nil, errors.Join(err, t.files.close())
	}
	return t, nil
}

// Close lets go of the files.
func (t *Tree) Close() error { return t.files.close() }

// readCheckpoint reads the last checkpoint that was signed in a data folder; nil if there
// is none. Errors: ErrForeign, merkle.ErrCheckpoint, merkle.ErrKey.
func readCheckpoint(dir, verifierKey string) (*merkle.Signed, error) {
	note, err := os.ReadFile(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last checkpoint: %w", err)
	}
	c, err := merkle.OpenCheckpoint(note, verifierKey)
	if errors.Is(err, merkle.ErrSignature) {
		err = fmt.Errorf("%w: bring back the vault that belongs to the log (%w)", ErrForeign, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last checkpoint: %w", err)
	}
	return &merkle.Signed{Checkpoint: c, Note: note}, nil
}

// compare holds the log and the tree's files against the last checkpoint.
func (t *Tree) compare(ctx context.Context) error {
	if t.kept == nil || t.kept.Size == 0 {
		return t.files.cut(0)
	}
	size := t.kept.Size
	last, err := t.log.Last(ctx)
	if err != nil {
		return err
	}
	if last < size {
		return fmt.Errorf("%w: it has %d events, and %d were signed", ErrCut, last, size)
	}
	if t.files.empty() { // as after a restore
		t.logger.Info("the Merkle tree is built from the log", "events", last)
		return t.files.cut(0)
	}
	edge, err := t.resume(size)
	if err != nil {
		t.logger.Warn("the Merkle tree is built again from the log", "events", last, "reason", err)
		return t.files.cut(0)
	}
	body, err := t.log.Settled(ctx, size)
	if err != nil {
		return err
	}
	leaf, err := t.files.node(0, size-1)
	if err != nil {
		return err
	}
	if merkle.LeafHash(body) != leaf {
		return fmt.Errorf("%w: event %d is another one", ErrChanged, size)
	}
	t.edge = edge
	t.signed.Store(t.kept)
	return nil
}

// resume cuts the files to a checkpoint's size, and fails if they are not what it was
// signed for.
func (t *Tree) resume(size uint64) (merkle.Tree, error) {
	if err := t.files.cut(size); err != nil {
		return merkle.Tree{}, err
	}
	edge, err := t.files.tree(size)
	if err == nil && edge.Root() != t.kept.Root {
		err = errors.New("its files do not have the root that was signed")
	}
	return edge, err
}

// Key is what others check signatures with.
func (t *Tree) Key() string { return t.signer.VerifierKey() }

// Signed is the last checkpoint; nil while the tree is built.
func (t *Tree) Signed() *merkle.Signed { return t.signed.Load() }

// Await waits until a checkpoint covers so many events.
func (t *Tree) Await(ctx context.Context, size uint64) error {
	for {
		next := t.news.wait()
		if s := t.signed.Load(); s != nil && s.Size >= size {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A broadcast wakes all who wait.
type broadcast struct {
	mu   sync.Mutex
	next chan struct{}
}

func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

package checkpoints

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"truebond/events/merkle"
	"truebond/events/ondisk"
)

// Run hashes what the log has and what comes, and signs a checkpoint soon after. It ends
// with ctx, with ErrChanged, or with what following the log ends with. A disk that fails
// is tried again: the log itself decides whether the server can go on.
func (t *Tree) Run(ctx context.Context) error {
	last, err := t.log.Last(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var signing sync.WaitGroup
	signing.Go(func() { cancel(t.signForEver(ctx, last)) })
	t.tellGrown() // what was added before a restart may not be signed yet
	err = t.log.FollowBodies(ctx, t.edge.Size(), batchMax, func(_ uint64, bodies [][]byte) error {
		return t.grow(ctx, bodies)
	})
	cancel(err)
	signing.Wait()
	return context.Cause(ctx)
}

// grow adds events to the tree. When it comes to where the last checkpoint was signed, it
// must have the same root.
func (t *Tree) grow(ctx context.Context, bodies [][]byte) error {
	if err := t.add(bodies); err != nil {
		return err
	}
	for {
		t.mu.Lock()
		err := t.files.flush()
		t.mu.Unlock()
		if err == nil {
			t.tellGrown()
			if len(bodies) == batchMax { // there is more
				return nil
			}
			return sleep(ctx, gatherPause)
		}
		t.logger.Error("the Merkle tree cannot be written; trying again", "error", err)
		if err := sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

func (t *Tree) add(bodies [][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, body := range bodies {
		t.edge.Add(merkle.LeafHash(body), t.files.add)
		if t.kept != nil && t.edge.Size() == t.kept.Size && t.edge.Root() != t.kept.Root {
			return fmt.Errorf("%w: one of the events 1 to %d is another one, or is missing; "+
				"`truebond verify` tells more", ErrChanged, t.kept.Size)
		}
	}
	return nil
}

func (t *Tree) tellGrown() {
	select {
	case t.grown <- struct{}{}:
	default: // it was told already
	}
}

// signForEver signs a checkpoint when there is something new, at most one each signPause,
// and none before the tree has all that the log had at the start.
func (t *Tree) signForEver(ctx context.Context, atLeast uint64) error {
	for {
		select {
		case <-t.grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause := signPause
		signed, err := t.sign(ctx, atLeast)
		switch {
		case errors.Is(err, ErrChanged):
			return err
		case err != nil && ctx.Err() == nil:
			t.logger.Error("no checkpoint can be signed; trying again", "error", err)
			pause = retryPause
			t.tellGrown()
		case !signed:
			continue
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// sign signs what the tree is now. All that a checkpoint covers is on disk before anybody
// sees it: the events, so that a power cut takes none of them; the tree, so that it need
// not be built again; the checkpoint, so that the log is held to it. It tells whether there
// was anything to sign.
func (t *Tree) sign(ctx context.Context, atLeast uint64) (bool, error) {
	t.mu.Lock()
	size, root, unwritten := t.edge.Size(), t.edge.Root(), len(t.files.added[0])
	t.mu.Unlock()
	if unwritten > 0 || size == 0 || size < atLeast {
		return false, nil // there will be more to sign soon
	}
	if s := t.signed.Load(); s != nil && s.Size == size {
		return false, nil
	}
	body, err := t.log.Settled(ctx, size)
	if err != nil {
		return false, err
	}
	leaf, err := t.files.node(0, size-1)
	if err != nil {
		return false, err
	}
	if merkle.LeafHash(body) != leaf {
		return false, fmt.Errorf("%w: event %d is not the one that was read before", ErrChanged, size)
	}
	if err := t.syncFiles(); err != nil {
		return false, err
	}
	signed := &merkle.Signed{
		Checkpoint: merkle.Checkpoint{Origin: t.signer.Origin(), Size: size, Root: root},
		Note:       t.signer.Sign(size, root),
	}
	if err := ondisk.Replace(filepath.Join(t.dir, File), signed.Note); err != nil {
		return false, err
	}
	t.signed.Store(signed)
	t.news.wake()
	return true, nil
}

// syncFiles makes sure that what was written of the tree survives a power cut.
func (t *Tree) syncFiles() error {
	t.mu.Lock()
	levels := t.files.unsynced()
	t.mu.Unlock()
	for i, level := range levels {
		if err := t.files.files[level].Sync(); err != nil {
			t.mu.Lock()
			for _, level := range levels[i:] {
				t.files.dirty[level] = true
			}
			t.mu.Unlock()
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

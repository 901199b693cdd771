package checkpoints

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"truebond/events/merkle"
)

// Each proof is checked before it is given: what a rotten file would say is not told.

// At is the checkpoint of an earlier size, signed like all others. The caller makes sure
// that the size is 1 to that of Signed. Errors: ErrDamaged.
func (t *Tree) At(size uint64) (*merkle.Signed, error) {
	now := t.signed.Load()
	if size == now.Size {
		return now, nil
	}
	root, err := tlog.TreeHash(int64(size), t.files)
	if err != nil {
		return nil, damaged(err)
	}
	then := merkle.Checkpoint{Origin: now.Origin, Size: size, Root: root}
	if _, err := t.consistency(then, now.Checkpoint); err != nil {
		return nil, err
	}
	return &merkle.Signed{Checkpoint: then, Note: t.signer.Sign(size, root)}, nil
}

// Inclusion proves that the leaf at an index, which is below the size, is in a log of a
// checkpoint. Errors: ErrDamaged.
func (t *Tree) Inclusion(index uint64, in merkle.Checkpoint) (leaf merkle.Hash, path []merkle.Hash, err error) {
	if leaf, err = t.files.node(0, index); err != nil {
		return leaf, nil, damaged(err)
	}
	if path, err = tlog.ProveRecord(int64(in.Size), int64(index), t.files); err != nil {
		return leaf, nil, damaged(err)
	}
	if err := merkle.CheckInclusion(in, index, leaf, path); err != nil {
		return leaf, nil, damaged(err)
	}
	return leaf, path, nil
}

// Consistency proves that a log of the later size begins with that of the earlier one.
// Errors: ErrDamaged.
func (t *Tree) Consistency(earlier, later uint64) ([]merkle.Hash, error) {
	from, err := t.At(earlier)
	if err != nil {
		return nil, err
	}
	to, err := t.At(later)
	if err != nil {
		return nil, err
	}
	return t.consistency(from.Checkpoint, to.Checkpoint)
}

func (t *Tree) consistency(earlier, later merkle.Checkpoint) ([]merkle.Hash, error) {
	path, err := tlog.ProveTree(int64(later.Size), int64(earlier.Size), t.files)
	if err != nil {
		return nil, damaged(err)
	}
	if err := merkle.CheckConsistency(earlier, later, path); err != nil {
		return nil, damaged(err)
	}
	return path, nil
}

// Tile is a tile of hashes, of which the caller makes sure that a checkpoint covers it.
// Errors: ErrDamaged.
func (t *Tree) Tile(level int, index uint64, width int) ([]byte, error) {
	tile, err := t.files.read(level, index*tileWidth, width)
	if err != nil {
		return nil, damaged(err)
	}
	if width < tileWidth || level+1 == levelsMax {
		return tile, nil
	}
	above, err := t.files.read(level+1, index, 1)
	if err != nil {
		return nil, damaged(err)
	}
	if fold(tile) != merkle.Hash(above) {
		return nil, damaged(fmt.Errorf("the hashes behind %d of level %d", index*tileWidth, level))
	}
	return tile, nil
}

func damaged(err error) error { return fmt.Errorf("%w (%w)", ErrDamaged, err) }

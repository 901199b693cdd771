package checkpoints

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"truebond/events/merkle"
)

const (
	tileHeight = merkle.TileHeight
	tileWidth  = merkle.TileWidth
	levelsMax  = merkle.TileLevels
	hashBytes  = len(merkle.Hash{})
)

// hashes are the tree's hashes on disk: for each level of tiles one file, in which they
// stand one after the other. So a tile, whole or partial, is a stretch of a file; a file
// only grows; and nothing is written twice. Of the levels between those of tiles nothing
// is kept, since a hash of them is folded from 128 others at most.
type hashes struct {
	files [levelsMax]*os.File
	ends  [levelsMax]int64 // of what was written, in bytes
	added [levelsMax][]byte
	dirty [levelsMax]bool // written, and not synced yet
}

// openHashes opens the folder's files, or makes them.
func openHashes(dir string) (*hashes, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &hashes{}
	for level := range h.files {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(level)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, errors.Join(err, h.close())
		}
		h.files[level] = f
	}
	return h, nil
}

func (h *hashes) close() (err error) {
	for _, f := range h.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// empty tells whether nothing is kept yet.
func (h *hashes) empty() bool {
	info, err := h.files[0].Stat()
	return err == nil && info.Size() == 0
}

// cut drops what is behind a size of the tree. It fails when there is less than that.
func (h *hashes) cut(size uint64) error {
	for level, f := range h.files {
		end := int64(size>>(tileHeight*level)) * int64(hashBytes)
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Size() < end {
			return fmt.Errorf("%s has %d bytes and not %d", f.Name(), info.Size(), end)
		}
		if err := f.Truncate(end); err != nil {
			return err
		}
		h.ends[level], h.added[level] = end, nil
	}
	return nil
}

// add takes a node of the tree, to be written with the next flush. It passes over those
// that are not kept.
func (h *hashes) add(n merkle.Node) {
	if n.Level%tileHeight == 0 {
		level := n.Level / tileHeight
		h.added[level] = append(h.added[level], n.Hash[:]...)
	}
}

// flush writes what was added. After an error it may be tried again.
func (h *hashes) flush() error {
	for level, bytes := range h.added {
		if len(bytes) == 0 {
			continue
		}
		if _, err := h.files[level].WriteAt(bytes, h.ends[level]); err != nil {
			return err
		}
		h.dirty[level] = true
		h.ends[level] += int64(len(bytes))
		h.added[level] = bytes[:0]
	}
	return nil
}

// unsynced are the levels that were written since they were synced. It forgets them.
func (h *hashes) unsynced() (levels []int) {
	for level := range h.dirty {
		if h.dirty[level] {
			levels = append(levels, level)
		}
	}
	h.dirty = [levelsMax]bool{}
	return levels
}

// read reads a stretch of a level of tiles.
func (h *hashes) read(level int, first uint64, count int) ([]byte, error) {
	bytes := make([]byte, count*hashBytes)
	if _, err := h.files[level].ReadAt(bytes, int64(first)*int64(hashBytes)); err != nil {
		return nil, fmt.Errorf("read %d hashes behind %d of %s: %w", count, first, h.files[level].Name(), err)
	}
	return bytes, nil
}

// node is the root of a perfect subtree.
func (h *hashes) node(level int, index uint64) (merkle.Hash, error) {
	within := level % tileHeight
	bytes, err := h.read(level/tileHeight, index<<within, 1<<within)
	if err != nil {
		return merkle.Hash{}, err
	}
	return fold(bytes), nil
}

func fold(bytes []byte) merkle.Hash {
	list := make([]merkle.Hash, len(bytes)/hashBytes)
	for i := range list {
		copy(list[i][:], bytes[i*hashBytes:])
	}
	return merkle.Fold(list)
}

// tree is the tree of a size, as far as it is needed to grow it.
func (h *hashes) tree(size uint64) (merkle.Tree, error) {
	var edge []merkle.Hash
	for _, n := range merkle.EdgeOf(size) {
		hash, err := h.node(n.Level, n.Index)
		if err != nil {
			return merkle.Tree{}, err
		}
		edge = append(edge, hash)
	}
	return merkle.Resume(size, edge)
}

// ReadHashes reads the hashes that a proof is made of, by tlog's numbers.
func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		var err error
		if list[i], err = h.node(level, uint64(n)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

package checkpoints

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"truebond/events/merkle"
)

// Stored are the hashes in a tree's files, as one reads them who trusts none of them.
type Stored struct {
	files   [levelsMax]*os.File
	readers [levelsMax]*bufio.Reader
}

// ReadStored opens the files of the tree in a data folder. Where there are none, it has
// no hashes.
func ReadStored(dir string) (*Stored, error) {
	s := &Stored{}
	for level := range s.files {
		f, err := os.Open(filepath.Join(dir, treeFolder, strconv.Itoa(level)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.files[level], s.readers[level] = f, bufio.NewReaderSize(f, tileWidth*hashBytes)
	}
	return s, nil
}

// Close lets go of the files.
func (s *Stored) Close() (err error) {
	for _, f := range s.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// Next is what is stored of a node, of which the caller asks in the order in which a tree
// completes them. It knows nothing of those that are not kept, or not yet.
func (s *Stored) Next(n merkle.Node) (hash merkle.Hash, known bool) {
	if n.Level%tileHeight != 0 || s.readers[n.Level/tileHeight] == nil {
		return hash, false
	}
	_, err := io.ReadFull(s.readers[n.Level/tileHeight], hash[:])
	return hash, err == nil
}

// SignedIn tells whether the stored hashes of events are those that a checkpoint was
// signed for. It reads them from the first one on.
func (s *Stored) SignedIn(c merkle.Checkpoint) bool {
	if s.files[0] == nil {
		return false
	}
	if _, err := s.files[0].Seek(0, io.SeekStart); err != nil {
		return false
	}
	leaves := bufio.NewReaderSize(s.files[0], tileWidth*hashBytes)
	var tree merkle.Tree
	for range c.Size {
		var leaf merkle.Hash
		if _, err := io.ReadFull(leaves, leaf[:]); err != nil {
			return false
		}
		tree.Add(leaf, nil)
	}
	return tree.Root() == c.Root
}

package main

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"time"

	"truebond/events/checkpoints"
	"truebond/events/merkle"
)

// openTree opens the log's Merkle tree, and refuses to go on with a log that is not the
// one that the last checkpoint was signed for.
func (s *server) openTree(ctx context.Context) error {
	signedBefore, err := checkpoints.HasCheckpoint(s.folder.path)
	if err != nil {
		return err
	}
	seed, err := s.vault.SigningKey(ctx, signedBefore)
	if err != nil {
		return err
	}
	signer, err := merkle.NewSigner(seed)
	if err != nil {
		return err
	}
	if s.tree, err = checkpoints.Open(ctx, s.folder.path, signer, s.log, s.logger); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.tree.Close() })
	return nil
}

// awaitCheckpoint waits for the first checkpoint, unless the log is so long that its tree
// has to be built while the server serves.
func (s *server) awaitCheckpoint(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.tree.Await(bounded, 1); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ctx.Err()
}

// checkpoint is the last signed checkpoint in a folder; nil if there is none.
func (d dataFolder) checkpoint() ([]byte, error) {
	note, err := os.ReadFile(d.join(checkpoints.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return note, err
}

// signedSize is how many events the last checkpoint in a folder was signed for, as far as can be
// told before the vault is open. One that cannot be read is refused later.
func signedSize(folder dataFolder) uint64 {
	note, err := folder.checkpoint()
	if err != nil || note == nil {
		return 0
	}
	signed, err := merkle.ParseCheckpoint(note)
	if err != nil {
		return math.MaxUint64
	}
	return signed.Size
}

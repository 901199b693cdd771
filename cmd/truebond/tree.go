package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"time"

	"truebond/commands/vault"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
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

// errNoVault says that a folder has no vault, or not what opens it.
var errNoVault = errors.New("there is no vault")

// signer has the key that a folder's vault keeps for checkpoints. Errors: errNoVault.
func (d dataFolder) signer(ctx context.Context, s settings) (*merkle.Signer, error) {
	if _, err := os.Stat(d.join(vaultFile)); err != nil && s.MongoURL == "" {
		return nil, fmt.Errorf("%w in %s: bring it and the secrets there", errNoVault, d.path)
	}
	if s.JWTSecret == "" {
		var err error
		if s.JWTSecret, err = d.readSecret(jwtSecretFile); err != nil {
			return nil, fmt.Errorf("%w in %s that can be opened: %w", errNoVault, d.path, err)
		}
	}
	keys, err := openKeys(ctx, s.MongoURL, d)
	if err != nil {
		return nil, err
	}
	defer keys.Close(ctx) //nolint:errcheck // it was only read
	v, err := vault.Open(ctx, keys, s.JWTSecret, false)
	if err != nil {
		return nil, d.explain(err)
	}
	seed, err := v.SigningKey(ctx, true)
	if err != nil {
		return nil, err
	}
	return merkle.NewSigner(seed)
}

// signAll signs for all of a log that no server runs on, as its server does within a second. After a kill
// its last events may not be signed for.
func (d dataFolder) signAll(ctx context.Context, signer *merkle.Signer, log *jetstream.Log) error {
	last, err := log.Last(ctx)
	if err != nil || last == 0 {
		return err
	}
	tree, err := checkpoints.Open(ctx, d.path, signer, log, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	running, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop(tree.Run(running))
	}()
	err = tree.Await(running, last)
	stop(nil)
	<-ended
	return errors.Join(err, tree.Close())
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

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/settings"
	"truebond/commands/vault"
	"truebond/events/checkpoints"
	"truebond/events/merkle"
)

// openTree opens the log's Merkle tree, and refuses to go on with a log that is not the
// one that the last checkpoint was signed for.
func (s *Server) openTree(ctx context.Context) error {
	signedBefore, err := checkpoints.HasCheckpoint(s.folder.Path)
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
	if s.tree, err = checkpoints.Open(ctx, s.folder.Path, signer, s.Log, s.Logger); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.tree.Close() })
	return nil
}

// awaitCheckpoint waits for the first checkpoint, unless the log is so long that its tree
// has to be built while the server serves.
func (s *Server) awaitCheckpoint(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.tree.Await(bounded, 1); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ctx.Err()
}

// ErrNoVault says that a folder has no vault, or not what opens it.
var ErrNoVault = errors.New("there is no vault")

// Signer has the key that a folder's vault keeps for checkpoints. Errors: ErrNoVault.
func Signer(ctx context.Context, d datafolder.Folder, s settings.Settings) (*merkle.Signer, error) {
	if _, err := os.Stat(d.Join(datafolder.VaultFile)); err != nil && s.MongoURL == "" {
		return nil, fmt.Errorf("%w in %s: bring it and the secrets there", ErrNoVault, d.Path)
	}
	if s.JWTSecret == "" {
		var err error
		if s.JWTSecret, err = d.ReadSecret(datafolder.JWTSecretFile); err != nil {
			return nil, fmt.Errorf("%w in %s that can be opened: %w", ErrNoVault, d.Path, err)
		}
	}
	keys, err := OpenKeys(ctx, s.MongoURL, d)
	if err != nil {
		return nil, err
	}
	defer keys.Close(ctx) //nolint:errcheck // it was only read
	v, err := vault.Open(ctx, keys, s.JWTSecret, false)
	if err != nil {
		return nil, explainSecret(d, err)
	}
	seed, err := v.SigningKey(ctx, true)
	if err != nil {
		return nil, err
	}
	return merkle.NewSigner(seed)
}

// explainSecret says more of a secret of the folder's that does not open the vault, when it is one
// that a rotation was to replace.
func explainSecret(d datafolder.Folder, err error) error {
	if _, missing := os.Stat(d.Join(datafolder.NextSecretFile)); missing == nil && errors.Is(err, vault.ErrSecret) {
		return fmt.Errorf("%w (`truebond vault rotate` was cut off: run it again)", err)
	}
	return err
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/commands/vault"
)

func vaultCommand() *cobra.Command {
	return holding("vault", "Change the secret that people's keys are under", vaultRotateCommand())
}

func vaultRotateCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Put all keys in the vault under a new secret",
		Long: `Put all keys in the vault under a new JWT_SECRET. What is sealed stays as it is and is
still read; the old secret opens nothing any more. Stop every server first, and start them
with the new secret: access tokens of before are void then, sessions go on.

With JWT_SECRET set, that is the new secret. Where it is empty, a new one is made and kept
in the data folder. The old one is that of the data folder, or where none is kept there,
a line on standard input.

It may be cut off at any moment: run it again, in the same way. Copies of the vault from
before need the old secret, so make a new one, and destroy the old secret with them.`,
		Example: `  truebond vault rotate --data ./data
  JWT_SECRET=$(cat new-secret) truebond vault rotate --data ./data < old-secret`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := settings.Read()
			if err != nil {
				return err
			}
			return rotateVault(cmd.Context(), data, s, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&data, "data", dataDefault, "data folder; no server may run on it")
	return cmd
}

// rotateVault puts a vault under the secret of the settings, or under one that it makes.
func rotateVault(ctx context.Context, data string, s settings.Settings, in io.Reader, out io.Writer) (err error) {
	folder, unlock, err := datafolder.HoldExisting(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(folder.Join(datafolder.VaultFile)); err != nil && s.MongoURL == "" {
		return fmt.Errorf("there is no vault in %s", folder.Path)
	}
	keys, err := server.OpenKeys(ctx, s.MongoURL, folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close(context.WithoutCancel(ctx))) }()
	done, err := isUnderNext(ctx, keys, folder, s)
	if err == nil && !done {
		err = putUnderNext(ctx, keys, folder, s, in)
	}
	if err != nil {
		return err
	}
	if err := placeNextSecret(folder, s); err != nil {
		return err
	}
	secret := "JWT_SECRET"
	if s.JWTSecret == "" {
		secret = "the new secret, which is in " + folder.Join(datafolder.JWTSecretFile)
	}
	if done {
		_, err = fmt.Fprintf(out, "The vault was under %s already. No rotation is left unfinished.\n", secret)
	} else {
		_, err = fmt.Fprintf(out, "The vault is under %s. The old one opens nothing any more.\n", secret)
	}
	return err
}

// isUnderNext tells whether the vault is under the new secret already: a rotation before was
// cut off, and opening the vault has ended it.
func isUnderNext(ctx context.Context, keys vault.Store, folder datafolder.Folder, s settings.Settings) (bool, error) {
	next := s.JWTSecret
	if next == "" {
		var err error
		if next, err = folder.ReadSecret(datafolder.NextSecretFile); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	_, err := vault.Open(ctx, keys, next, false)
	if errors.Is(err, vault.ErrSecret) {
		return false, nil
	}
	return err == nil, err
}

// putUnderNext rotates the vault. A new secret is on disk before the vault is under it.
func putUnderNext(
	ctx context.Context, keys vault.Store, folder datafolder.Folder, s settings.Settings, in io.Reader,
) error {
	v, err := openWithOld(ctx, keys, folder, in)
	if err != nil {
		return err
	}
	next := s.JWTSecret
	if next == "" {
		if next, err = folder.Secret(datafolder.NextSecretFile, ""); err != nil {
			return err
		}
	}
	return v.Rotate(ctx, next)
}

// openWithOld opens the vault with a secret of the folder, or else with the one on standard
// input. A secret that was made for a rotation that was cut off is one too: meanwhile
// somebody has set JWT_SECRET.
func openWithOld(ctx context.Context, keys vault.Store, folder datafolder.Folder, in io.Reader) (*vault.Vault, error) {
	for _, name := range []string{datafolder.JWTSecretFile, datafolder.NextSecretFile} {
		old, err := folder.ReadSecret(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, err := vault.Open(ctx, keys, old, false)
		if !errors.Is(err, vault.ErrSecret) {
			return v, err
		}
	}
	if isTerminal(in) {
		return nil, misused("no secret in %s opens the vault: the old one comes from standard input, from a file or a pipe",
			folder.Path)
	}
	const secretBytesMax = 4096 // far more than anybody's
	old, err := io.ReadAll(io.LimitReader(in, secretBytesMax))
	if err != nil {
		return nil, fmt.Errorf("read the old secret: %w", err)
	}
	if old = bytes.TrimRight(old, "\r\n"); len(old) == 0 {
		return nil, misused("no secret in %s opens the vault, and there is no old one on standard input", folder.Path)
	}
	v, err := vault.Open(ctx, keys, string(old), false)
	if errors.Is(err, vault.ErrSecret) {
		return nil, errors.New("neither the old secret nor the new one opens the vault; nothing was done")
	}
	return v, err
}

// placeNextSecret ends a rotation: the new secret takes the old one's place, or that is gone
// where JWT_SECRET is set. It may be done again.
func placeNextSecret(d datafolder.Folder, s settings.Settings) error {
	if s.JWTSecret != "" {
		return errors.Join(d.Remove(datafolder.JWTSecretFile), d.Remove(datafolder.NextSecretFile))
	}
	if err := os.Rename(d.Join(datafolder.NextSecretFile), d.Join(datafolder.JWTSecretFile)); err != nil {
		return err
	}
	return d.Sync()
}

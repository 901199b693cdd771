package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	nethttp "net/http"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/events/archive"
	"truebond/events/jetstream"
	"truebond/http"
)

func archiveCommand() *cobra.Command {
	var to target
	var local logPlace
	var place string
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Copy the log, up to now, to a folder or a bucket",
		Long: `Copy the log to an archive: compressed segments with their hashes, and the newest signed
checkpoint. It goes on where the archive ends, reads back what it writes, and refuses an
archive of another log.

A running server keeps an archive by itself (serve --archive); this has it bring that up to
now. Where no server runs, --to says where: a folder, or "bucket" for that of the cloud
storage settings. That is also what it takes when nothing is said. What a killed server has not
signed is signed first, if the vault can be opened.`,
		Example: `  truebond archive
  truebond archive --data ./data --to /mnt/backup/truebond`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := archiveLog(cmd.Context(), to, local, place)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Archived up to position %d in %s\n", done.Position, done.Place)
			return err
		},
	}
	targetFlags(cmd, &to)
	cmd.Flags().StringVar(&place, "to", "", `folder, or "bucket", where no server runs`)
	logFlags(cmd, &local)
	return cmd
}

// archiveLog asks the server of a data folder to archive, or does it where none runs.
func archiveLog(ctx context.Context, to target, local logPlace, place string) (done http.Archived, err error) {
	server, err := to.connect(ctx)
	if errors.Is(err, errNoServer) {
		return archiveAlone(ctx, to.data, local, place)
	}
	if err != nil {
		return done, err
	}
	if place != "" {
		return done, misused("--to is for when no server runs: stop this one, or start it with --archive %s", place)
	}
	err = server.call(ctx, nethttp.MethodPost, "/api/operator/archive", nil, &done)
	return done, err
}

func archiveAlone(ctx context.Context, data string, local logPlace, place string) (done http.Archived, err error) {
	s, err := settings.Read()
	if err != nil {
		return done, err
	}
	log, release, err := openLogAlone(ctx, data, local) // before the archive's folder is made
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	folder := datafolder.Folder{Path: data}
	store, err := server.OpenArchive(place, folder, s)
	if errors.Is(err, server.ErrInDataFolder) {
		return done, misused("%w", err)
	}
	if err != nil {
		return done, err
	}
	if store == nil {
		return done, misused("no server runs on %s, and there is no bucket: --to says where to", data)
	}
	k, err := archive.Resume(ctx, store, log, slog.New(slog.DiscardHandler))
	if err != nil {
		return done, err
	}
	signed, err := folder.Checkpoint()
	if err != nil {
		return done, err
	}
	if signed != nil {
		if signed, err = signedAnew(ctx, folder, s, log, signed); err != nil {
			return done, err
		}
		if err := k.KeepSigned(ctx, signed); err != nil {
			return done, err
		}
	}
	last, err := log.Last(ctx)
	if err != nil {
		return done, err
	}
	if err := k.Keep(ctx, last); err != nil {
		return done, err
	}
	return http.Archived{Position: k.Position(), Place: store.String()}, nil
}

// signedAnew is a checkpoint of all that the log has, or the one that there is where the key is not at hand:
// a restore asks before it takes what is behind that.
func signedAnew(
	ctx context.Context, d datafolder.Folder, s settings.Settings, log *jetstream.Log, before []byte,
) ([]byte, error) {
	key, err := server.Signer(ctx, d, s)
	if err != nil {
		return before, nil //nolint:nilerr // an archive without its last signature is better than none
	}
	if err := signAll(ctx, d, key, log); err != nil {
		return nil, err
	}
	return d.Checkpoint()
}

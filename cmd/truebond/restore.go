package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/cmd/truebond/settings"
	"truebond/cmd/truebond/wording"
	"truebond/commands/blob"
	"truebond/events"
	"truebond/events/archive"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
	"truebond/events/merkle"
)

func restoreCommand() *cobra.Command {
	var r restore
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Make a new log from an archive, or repair a damaged one",
		Long: `Make a log from an archive: the same events at the same positions, byte by byte. The archive
is checked to its end, by its hashes and its signed checkpoint, and the new log is read back.
A restore that was cut off leaves a folder that refuses to serve; run it again.

Where the data folder has a log, that is compared with the archive. A sound one stays as it
is. Of a damaged one, all that can be kept beyond the archive is kept; when something cannot,
it says what, and does nothing without --accept-loss. The damaged log stays beside the new
one, under another name.

With --nats, the log is made in that cluster, as a stream of --replicas; --data is a server's
data folder then. No server serves until it is whole. A stream that has other events than the
archive is refused, and stays as it is.

The signature is checked with --key, or with the key in the vault of the data folder: bring
the vault and the secrets there first. People's keys are in no archive, and restoring brings
none back: who was erased later than --until is erased again before the server serves.`,
		Example: `  truebond restore --from /mnt/backup/truebond --data ./new
  truebond restore --from bucket --data ./new --until 2026-11-25T12:00:00Z
  truebond restore --from /mnt/backup/truebond --data ./data
  truebond restore --from bucket --data ./data --nats nats://n1:4222,nats://n2:4222,nats://n3:4222`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := demand(cmd, "from", "data"); err != nil {
				return err
			}
			r.out = cmd.OutOrStdout()
			return r.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.from, "from", "", `folder of the archive, or "bucket"`)
	flags.StringVar(&r.data, "data", "", "data folder that gets the log")
	flags.StringVar(&r.until, "until", "", "last position, or last moment (2026-11-25T12:00:00Z), that is wanted")
	flags.StringVar(&r.key, "key", "", "key that the checkpoints are signed with, as the server prints it")
	flags.BoolVar(&r.unsigned, "unsigned", false, "take what no signature covers; without --key, check none")
	flags.BoolVar(&r.acceptLoss, "accept-loss", false, "go on although events are lost")
	logFlags(cmd, &r.logPlace)
	return cmd
}

// A restore is what an operator wants, and what was found out so far.
type restore struct {
	logPlace
	data                 string
	from, until, key     string
	unsigned, acceptLoss bool
	out                  io.Writer

	folder   datafolder.Folder
	restorer *archive.Restorer
	note     []byte             // the archive's signed checkpoint; nil if there is none
	signed   merkle.Checkpoint  // what it says
	own      *merkle.Checkpoint // the data folder's; nil if there is none
}

// parseUntil reads a position or a moment.
func parseUntil(text string) (until archive.Until, err error) {
	if text == "" {
		return until, nil
	}
	if until.Position, err = strconv.ParseUint(text, 10, 64); err == nil && until.Position > 0 {
		return until, nil
	}
	if until.Time, err = time.Parse(time.RFC3339Nano, text); err != nil || until.Time.IsZero() {
		return until, misused("--until takes a position or a moment such as 2026-11-25T12:00:00Z, not %s", text)
	}
	return until, nil
}

func (r *restore) run(ctx context.Context) (err error) {
	until, err := parseUntil(r.until)
	if err != nil {
		return err
	}
	if err := validateKey(r.key); err != nil {
		return err
	}
	s, err := settings.Read()
	if err != nil {
		return err
	}
	store, err := openArchivePlace(r.from, s)
	if err != nil {
		return err
	}
	folder, unlock, err := datafolder.Hold(r.data)
	if err != nil {
		return err
	}
	r.folder = folder
	defer func() { err = errors.Join(err, unlock()) }()
	state, err := r.folder.RestoreState()
	if err != nil {
		return err
	}
	if state == datafolder.RestoreWhole {
		fmt.Fprintln(r.out, "A restore before was cut off at its very end: this completes it, and does no other.")
		return r.place()
	}
	if err := r.open(ctx, store, s); err != nil {
		return err
	}
	if err := r.validateUntil(ctx, until); err != nil {
		return err
	}
	if r.nats != "" {
		return r.intoCluster(ctx, until)
	}
	if _, err := os.Stat(r.folder.Join(datafolder.LogFolder)); err == nil {
		if r.until != "" {
			return errors.New("there is a log: --until makes an earlier one, in a data folder of its own")
		}
		return r.repair(ctx)
	}
	found := r.restorer.Absent()
	if err := r.refuseUnsigned(ctx, until, found); err != nil {
		return err
	}
	if r.until == "" {
		if err := r.tellLoss(found); err != nil {
			return err
		}
	}
	return r.intoFolder(ctx, until, found)
}

// validateUntil refuses a position that the archive does not have: all would be restored, what is
// not wanted, too. Of a moment before the first event nothing would be, and a server would begin
// another log there.
func (r *restore) validateUntil(ctx context.Context, until archive.Until) error {
	if last := r.restorer.Archive.Last(); until.Position > last {
		return misused("--until %d is beyond the archive, which ends at position %d", until.Position, last)
	}
	if until.Time.IsZero() {
		return nil
	}
	first, err := r.timeOf(ctx, 1)
	if err != nil {
		return err
	}
	if until.Time.Before(first) {
		return misused("--until %s is before the first event, which is of %s", r.until, first.Format(time.RFC3339Nano))
	}
	return nil
}

// timeOf is when an event of the archive was decided.
func (r *restore) timeOf(ctx context.Context, position uint64) (time.Time, error) {
	body, err := r.restorer.Archive.Body(ctx, position)
	if err != nil {
		return time.Time{}, err
	}
	e, err := r.restorer.Codec.Decode(position, body)
	return e.Time, err
}

// refuseUnsigned refuses to take events from the archive that no signed checkpoint covers. An archiver that is
// cut off far behind its log leaves some; whoever can write the archive can make some up.
func (r *restore) refuseUnsigned(ctx context.Context, until archive.Until, found archive.Damage) error {
	signed := r.restorer.Vouched()
	if r.unsigned || found.Until <= signed || until.Position > 0 && until.Position <= signed {
		return nil
	}
	if !until.Time.IsZero() {
		if next, err := r.timeOf(ctx, signed+1); err != nil || next.After(until.Time) {
			return err
		}
	}
	return fmt.Errorf("the archive has %s, which no signed checkpoint covers: anybody who can write the archive may "+
		"have made them up; nothing was changed: --unsigned takes them, and --until %d in a new folder leaves them out",
		wording.EventRange(signed+1, r.restorer.Archive.Last()), signed)
}

// openArchivePlace opens an archive that is there already.
func openArchivePlace(place string, s settings.Settings) (archive.Store, error) {
	if place == server.InBucket {
		return s.Bucket()
	}
	return blob.ExistingFolder(place)
}

// openArchive opens an archive that has something in it, with its signed checkpoint: nil if
// there is none.
func openArchive(ctx context.Context, store archive.Store) (a *archive.Archive, signed []byte, err error) {
	if a, err = archive.Open(ctx, store); err != nil {
		return nil, nil, err
	}
	if a.Last() == 0 {
		return nil, nil, fmt.Errorf("there is no archive in %s", store)
	}
	signed, err = a.Checkpoint(ctx)
	return a, signed, err
}

// open opens the archive, and checks who has signed its checkpoint.
func (r *restore) open(ctx context.Context, store archive.Store, s settings.Settings) error {
	codec, err := events.NewCodec()
	if err != nil {
		return err
	}
	r.restorer = &archive.Restorer{Codec: codec}
	if r.restorer.Archive, r.note, err = openArchive(ctx, store); err != nil {
		return err
	}
	own, err := r.folder.Checkpoint()
	if err != nil {
		return err
	}
	open := merkle.ParseCheckpoint
	if !r.unsigned || r.key != "" {
		key, err := r.verifierKey(ctx, s)
		if err != nil {
			return err
		}
		open = func(signed []byte) (merkle.Checkpoint, error) { return merkle.OpenCheckpoint(signed, key) }
	}
	switch {
	case r.note == nil && !r.unsigned:
		return errors.New("the archive has no signed checkpoint; --unsigned restores it all the same")
	case r.note != nil:
		if r.signed, err = open(r.note); err != nil {
			return fmt.Errorf("the archive's checkpoint: %w", err)
		}
		r.restorer.Checkpoints = append(r.restorer.Checkpoints, r.signed)
	}
	if own != nil {
		c, err := open(own)
		if err != nil {
			return fmt.Errorf("the data folder's checkpoint: %w", err)
		}
		r.own, r.restorer.Checkpoints = &c, append(r.restorer.Checkpoints, c)
	}
	return nil
}

// verifierKey is the key that checkpoints must be signed with: the one that the operator
// names, or the one in the folder's vault.
func (r *restore) verifierKey(ctx context.Context, s settings.Settings) (string, error) {
	if r.key != "" {
		return r.key, nil
	}
	const hint = "--key names the key that the checkpoints are signed with, and --unsigned goes without"
	signer, err := server.Signer(ctx, r.folder, s)
	switch {
	case errors.Is(err, server.ErrNoVault):
		return "", misused("%w; %s", err, hint)
	case err != nil:
		return "", fmt.Errorf("%w; %s", err, hint)
	}
	return signer.VerifierKey(), nil
}

// intoFolder makes the new log beside where it is to be, and puts it there when it is
// whole and was read back. Until then the folder refuses to serve.
func (r *restore) intoFolder(ctx context.Context, until archive.Until, found archive.Damage) error {
	if err := r.folder.MarkRestore(datafolder.RestoreBegun); err != nil {
		return err
	}
	if err := os.RemoveAll(r.folder.Join(datafolder.RestoringFolder)); err != nil { // what one before has left
		return err
	}
	log, err := openLogIn(ctx, r.folder.Join(datafolder.RestoringFolder), logPlace{})
	if err != nil {
		return err
	}
	done, err := r.fill(ctx, log, until, found)
	if err := errors.Join(err, log.Close()); err != nil {
		return err
	}
	if err := r.folder.AddEraseAgain(done.Erased); err != nil {
		return err
	}
	if err := r.prepare(done); err != nil {
		return err
	}
	if err := r.folder.MarkRestore(datafolder.RestoreWhole); err != nil {
		return err
	}
	return r.place()
}

// place puts a log that was restored whole where it belongs. It may be done again.
func (r *restore) place() error {
	aside, err := r.folder.PlaceRestored()
	if err != nil {
		return err
	}
	if aside != "" {
		fmt.Fprintf(r.out, "The damaged log stays in %s.\n", aside)
	}
	fmt.Fprintf(r.out, "The log is in %s.\n", r.folder.Path)
	return nil
}

// fill makes the new log and reads it back.
func (r *restore) fill(
	ctx context.Context, log *jetstream.Log, until archive.Until, found archive.Damage,
) (archive.Restored, error) {
	total := max(r.restorer.Archive.Last(), found.Sound)
	var done archive.Restored
	err := r.show(ctx, "restore", total, func() (err error) {
		done, err = r.restorer.Restore(ctx, log, until, found)
		return err
	})
	if err != nil {
		return done, err
	}
	if done.Unsure > 0 && !r.unsigned {
		return done, fmt.Errorf("the archive has behind its signed checkpoint that %s erased, which anybody who can write "+
			"it may have made up; there is no way back from that: --unsigned erases them again",
			wording.Counted(done.Unsure, "person was", "people were"))
	}
	return done, r.show(ctx, "verify", done.Last, func() error { return r.restorer.Verify(ctx, log, done) })
}

// show shows how far a step is.
func (r *restore) show(ctx context.Context, step string, total uint64, do func() error) error {
	show, end := showProgress(ctx, r.out)
	defer end()
	r.restorer.Told = func(done uint64) { show(step, min(done, total), total) }
	return do()
}

// prepare puts into the folder what goes with the new log.
func (r *restore) prepare(done archive.Restored) error {
	if r.own != nil && r.own.Size > done.Last { // it speaks of a log that is no more
		if _, err := r.folder.MoveAside(checkpoints.File); err != nil {
			return err
		}
	}
	whole := done.Last >= r.signed.Size
	if _, err := os.Stat(r.folder.Join(checkpoints.File)); r.note != nil && whole && errors.Is(err, fs.ErrNotExist) {
		if err := r.folder.Replace(checkpoints.File, r.note); err != nil { // the new log is held to it
			return err
		}
	}
	fmt.Fprintf(r.out, "Restored and read back: %s.\n", wording.Events(done.Last))
	if end := r.restorer.Archive.Last(); done.Last < end {
		fmt.Fprintf(r.out, "The archive has %s: whoever keeps a checkpoint of more than %d will see that the log "+
			"was set back.\nFrom here on it is another log, and needs an archive of its own.\n",
			wording.Events(end), done.Last)
	}
	if len(done.Erased) > 0 {
		fmt.Fprintf(r.out, "%s again when the server starts.\n", wording.Counted(len(done.Erased),
			"person was erased later, and is erased", "people were erased later, and are erased"))
	}
	return nil
}

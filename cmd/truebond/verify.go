package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/wording"
	"truebond/events"
	"truebond/events/audit"
	"truebond/events/checkpoints"
	"truebond/events/jetstream"
	"truebond/events/merkle"
	"truebond/projections/sqlite/sqlitefile"
)

// A verification is what an operator or auditor asks for.
type verification struct {
	logPlace
	data        string
	checkpoints []string // files that the checker has kept
	key         string   // that they are signed with
	from        string   // folder of an archive, or InBucket; empty: the log of a data folder is checked
}

func verifyCommand() *cobra.Command {
	var v verification
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check a whole log, an archive or a receipt, trusting nobody",
		Long: `Reads every event of a log, while no server runs on it, and checks that each can be
read, follows the one before without a gap, balances, and has a key that no other has;
and that all of them together are what was signed. What is wrong is named with its place.
Nothing is changed in the folder, also not where a server was killed.
Then it looks for flipped bits in what stands beside it, the files of the vault and of the views,
and whether the vault's keys open what people who are not erased have told and wrote.

Whoever can change a log can also change the checkpoint that stands beside it. So keep
checkpoints somewhere else, and the key too: a checkpoint is what a server answers on
/api/audit/checkpoint, and the key what it prints when it starts. With --checkpoint, the
log is held against those. Checkpoints from several times narrow down where a change is.`,
		Example: `  curl -s https://api.example.com/api/audit/checkpoint > 2026-11-25.checkpoint
  truebond verify --data ./data --checkpoint 2026-11-25.checkpoint --key truebond/1f2e…+0a1b2c3d+AR…
  truebond verify --archive /mnt/backup/truebond --checkpoint 2026-11-25.checkpoint
  truebond verify receipt receipt.json --key truebond/1f2e…+0a1b2c3d+AR…`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.validate(cmd); err != nil {
				return err
			}
			if v.from != "" {
				return verifyArchive(cmd.Context(), v, cmd.OutOrStdout())
			}
			return verifyLog(cmd.Context(), v, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&v.data, "data", dataDefault, "data folder of the log; no server may run on it")
	cmd.Flags().StringVar(&v.from, "archive", "", "folder of an archive to check instead, or \"bucket\"")
	cmd.Flags().StringArrayVar(&v.checkpoints, "checkpoint", nil, "file with a checkpoint that you have kept; repeatable")
	cmd.Flags().StringVar(&v.key, "key", "", "key that checkpoints must be signed with: name+hash+key")
	logFlags(cmd, &v.logPlace)
	cmd.AddCommand(verifyReceiptCommand())
	return cmd
}

// validate refuses flags of which nothing would come: who gave them takes more for checked
// than is.
func (v verification) validate(cmd *cobra.Command) error {
	if v.from != "" {
		for _, name := range []string{"data", "nats"} {
			if cmd.Flag(name).Changed {
				return misused("--%s is of a log: with --archive, that alone is checked", name)
			}
		}
	}
	return validateKey(v.key)
}

// validateKey refuses a --key that is none. An empty one is none that was given.
func validateKey(key string) error {
	if key == "" {
		return nil
	}
	if err := merkle.ValidateKey(key); err != nil {
		return misused("--key: %w", err)
	}
	return nil
}

// A kept checkpoint is one that a log is held against.
type keptCheckpoint struct {
	merkle.Checkpoint
	from string // where it was read
}

// verifyLog checks the log of a data folder.
func verifyLog(ctx context.Context, v verification, out io.Writer) error {
	against, err := v.readCheckpoints()
	if err != nil {
		return err
	}
	folder, unlock, err := datafolder.HoldExisting(v.data)
	if errors.Is(err, datafolder.ErrHeld) {
		err = fmt.Errorf("%w: stop it first, or check from outside what it proves (docs/auditor.md)", err)
	}
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // the process ends
	if err := folder.CheckRestored(); err != nil {
		return err
	}
	own, err := v.ownCheckpoint(folder)
	if err != nil {
		return err
	}
	if own != nil {
		against = append(against, *own)
	}
	log, err := v.openLog(ctx, folder)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // it was only read
	stored, err := checkpoints.ReadStored(folder.Path)
	if err != nil {
		return err
	}
	defer stored.Close() //nolint:errcheck // it was only read
	keys := openKeyCheck(ctx, folder)
	defer keys.close(ctx)
	read, err := readBeside(ctx, log, against, own, stored, func(e events.Event) { keys.add(ctx, e) })
	if err != nil {
		return err
	}
	if err := v.report(out, "log", read, against); err != nil {
		return err
	}
	if err := reportLeft(out, log); err != nil {
		return err
	}
	if err := verifyBeside(folder); err != nil {
		return err
	}
	return keys.report(ctx, out)
}

// verifyBeside looks for flipped bits in what stands beside a sound log.
func verifyBeside(folder datafolder.Folder) error {
	if err := jetstream.VerifySettings(folder.Path); err != nil {
		return fmt.Errorf("the log is right, but its settings are not: remove both, and they are written again: %w", err)
	}
	for _, f := range []struct{ name, fault string }{
		{datafolder.VaultFile, "the vault's file is damaged, and a copy of it has to take its place"},
		{datafolder.ViewsFile, "the views' file is damaged: move it away, and they are built again"},
	} {
		if err := sqlitefile.Verify(folder.Join(f.name)); err != nil {
			return fmt.Errorf("%s: %w", f.fault, err)
		}
	}
	return nil
}

// readCheckpoints reads the checkpoints that the checker has kept.
func (v verification) readCheckpoints() ([]keptCheckpoint, error) {
	var all []keptCheckpoint
	for _, name := range v.checkpoints {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read a checkpoint: %w", err)
		}
		c, err := v.openCheckpoint(text)
		if err != nil {
			return nil, fmt.Errorf("read the checkpoint %s: %w", name, err)
		}
		all = append(all, keptCheckpoint{c, name})
	}
	return all, nil
}

func (v verification) openCheckpoint(text []byte) (merkle.Checkpoint, error) {
	if v.key == "" {
		return merkle.ParseCheckpoint(text)
	}
	return merkle.OpenCheckpoint(text, v.key)
}

// ownCheckpoint is the last that the folder's server has signed; nil if there is none.
func (v verification) ownCheckpoint(folder datafolder.Folder) (*keptCheckpoint, error) {
	text, err := folder.Checkpoint()
	if err != nil || text == nil {
		return nil, err
	}
	name := folder.Join(checkpoints.File)
	c, err := v.openCheckpoint(text)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint %s: %w", name, err)
	}
	return &keptCheckpoint{c, name}, nil
}

// openLog opens the log in a folder that the caller has locked, to be read alone.
func (v verification) openLog(ctx context.Context, folder datafolder.Folder) (wholeLog, error) {
	if v.nats != "" {
		log, err := openOnlyLog(ctx, folder, v.logPlace)
		return sentLog{log}, err
	}
	if err := hasLog(folder); err != nil {
		return nil, err
	}
	return jetstream.OpenStopped(folder.Path, folder.SignedSize())
}

// newChecker makes a checker of kept checkpoints, and puts them in the order of their sizes. It refuses
// those of several logs: no log is true to them, and yet nobody has changed one.
func newChecker(against []keptCheckpoint) (*merkle.Checker, error) {
	for _, c := range against {
		if first := against[0]; c.Origin != first.Origin {
			return nil, fmt.Errorf("the checkpoint %s is of the log %s, and %s is of %s",
				c.from, c.Origin, first.from, first.Origin)
		}
	}
	slices.SortStableFunc(against, func(a, b keptCheckpoint) int { return cmp.Compare(a.Size, b.Size) })
	list := make([]merkle.Checkpoint, len(against))
	for i, c := range against {
		list[i] = c.Checkpoint
	}
	return merkle.NewChecker(list...)
}

func (v verification) report(out io.Writer, what string, read *audit.Reader, against []keptCheckpoint) error {
	_, err := fmt.Fprintf(out, "The %s is sound: %s, each read, in order and hashed.\nIts root is %v.\n",
		what, wording.Events(read.Read()), read.Root())
	for _, c := range against {
		signature := ", whose signature was not checked: give --key"
		if v.key != "" {
			signature = ", signed by the key"
		}
		if err == nil {
			_, err = fmt.Fprintf(out, "Its first %s of the checkpoint %s%s.\n",
				wording.Counted(c.Size, "event is that", "events are those"), c.from, signature)
		}
	}
	if n := len(against); err == nil && n > 0 && against[n-1].Size < read.Read() {
		_, err = fmt.Fprintf(out, "No checkpoint covers %s.\n", wording.EventRange(against[n-1].Size+1, read.Read()))
	}
	if len(v.checkpoints) == 0 && err == nil {
		_, err = fmt.Fprintln(out, "Nothing was compared that is kept elsewhere: give --checkpoint.")
	}
	return err
}

// reportLeft tells what a crash has left of its last append.
func reportLeft(out io.Writer, log wholeLog) error {
	stopped, isStopped := log.(*jetstream.Stopped)
	if !isStopped || stopped.Left() == nil {
		return nil
	}
	left := stopped.Left()
	_, err := fmt.Fprintf(out, "What stands in %s from byte %d on is half of an append, or damage in the last one, "+
		"of which no checkpoint tells: as after a crash. A server removes it when it starts.\n", left.File, left.Offset)
	return err
}

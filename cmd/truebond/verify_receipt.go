package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"truebond/cmd/truebond/wording"
	"truebond/events"
	"truebond/events/merkle"
	"truebond/queries"
)

func verifyReceiptCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "receipt FILE",
		Short: "Check a receipt, without a server",
		Long: `Checks that the event in a receipt is in the log whose key you have, and shows the event.
A receipt is what a server answers on /api/audit/receipt/POSITION; - reads it from
standard input. Nothing but the file and the key is needed.

The key must come from somewhere you trust: the server prints it when it starts.`,
		Example: `  truebond verify receipt receipt.json --key truebond/1f2e…+0a1b2c3d+AR…`,
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := demand(cmd, "key"); err != nil {
				return err
			}
			if err := validateKey(key); err != nil {
				return err
			}
			text, err := interruptible(cmd.Context(), func() ([]byte, error) { return readReceipt(args[0], cmd.InOrStdin()) })
			if err != nil {
				return err
			}
			return verifyReceipt(text, key, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "key that the checkpoint must be signed with: name+hash+key")
	return cmd
}

// receiptMax bounds a receipt: the longest event in base64, and its proof.
const receiptMax = 1 << 20

func readReceipt(name string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read the receipt: %w", err)
		}
		defer f.Close() //nolint:errcheck // it is only read
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, receiptMax+1))
	if err == nil && len(text) > receiptMax {
		err = fmt.Errorf("it has more than %d bytes", receiptMax)
	}
	if err != nil {
		return nil, fmt.Errorf("read the receipt: %w", err)
	}
	return text, nil
}

func verifyReceipt(text []byte, key string, out io.Writer) error {
	var r queries.Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("this is not a receipt: %w", err)
	}
	if r.Checkpoint == "" {
		var p problem
		if json.Unmarshal(text, &p) == nil && p.Code != "" {
			return fmt.Errorf("this is not a receipt, but what came in its place: %w", &p)
		}
		return errors.New("this is not a receipt: it has no checkpoint")
	}
	if err := saysNoMore(text, r); err != nil {
		return fmt.Errorf("this is not a receipt: %w", err)
	}
	c, err := merkle.OpenCheckpoint([]byte(r.Checkpoint), key)
	if err != nil {
		return err
	}
	path := make([]merkle.Hash, len(r.Path))
	for i, hash := range r.Path {
		if len(hash) != len(path[i]) {
			return fmt.Errorf("this is not a receipt: a hash of its path has %s", wording.Counted(len(hash), "byte", "bytes"))
		}
		copy(path[i][:], hash)
	}
	leaf := merkle.LeafHash(r.Event)
	switch {
	case r.Position == 0 || r.Index != r.Position-1:
		return fmt.Errorf("the receipt is of position %d, and proves %d", r.Position, r.Index+1)
	case r.Size != c.Size:
		return fmt.Errorf("the receipt is of a log of %s, and its checkpoint of %d", wording.Events(r.Size), c.Size)
	case string(r.LeafHash) != string(leaf[:]):
		return fmt.Errorf("the event in the receipt is not the one that it proves: its bytes were changed")
	}
	if err := merkle.CheckInclusion(c, r.Index, leaf, path); err != nil {
		return err
	}
	return showReceipt(out, r, c)
}

// saysNoMore fails when a receipt has members that are not checked, has one twice, or writes one in another
// way than a server does: who reads the file with another program could take it for proved.
func saysNoMore(text []byte, r queries.Receipt) error {
	written, err := json.Marshal(r)
	if err != nil {
		return err
	}
	here, err := membersOf(text)
	if err != nil {
		return err
	}
	checked, err := membersOf(written)
	if err != nil {
		return err
	}
	for name, value := range here {
		if wanted, known := checked[name]; !known {
			return fmt.Errorf("it has a member %q, which is not checked", name)
		} else if !reflect.DeepEqual(value, wanted) {
			return fmt.Errorf("%q is not written as a server writes it", name)
		}
	}
	for name := range checked {
		if _, there := here[name]; !there {
			return fmt.Errorf("it has no %q", name)
		}
	}
	return nil
}

// membersOf reads an object. It refuses a name that comes twice, of which encoding/json takes the last.
func membersOf(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	members := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name.(string)]; twice {
			return nil, fmt.Errorf("%q comes twice", name)
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		members[name.(string)] = value
	}
	return members, nil
}

func showReceipt(out io.Writer, r queries.Receipt, c merkle.Checkpoint) error {
	_, err := fmt.Fprintf(out, "The receipt is good: event %d is in the log %s, which had %s.\n",
		r.Position, c.Origin, wording.Events(c.Size))
	if err != nil {
		return err
	}
	codec, err := events.NewCodec()
	if err != nil {
		return err
	}
	e, err := codec.Decode(r.Position, r.Event)
	if err != nil { // of a later program: what was proved is proved
		_, err = fmt.Fprintf(out, "%s\n", wording.OneLine(string(r.Event)))
		return err
	}
	_, err = fmt.Fprintf(out, "%s  %s  %s  %s\n", e.Time.Format(time.RFC3339), e.Data.Type(), e.Actor,
		wording.OneLine(e.Key))
	for _, m := range e.Moves {
		if err == nil {
			_, err = fmt.Fprintf(out, "  %d %s from %s to %s\n", m.Amount, m.Asset, m.From, m.To)
		}
	}
	return err
}

package merkle

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// CheckpointMax bounds a signed checkpoint in bytes. A witness's signature takes some
// 150 of them.
const CheckpointMax = 64 << 10

// Why a checkpoint is not believed.
var (
	// ErrCheckpoint says that a text is not a checkpoint.
	ErrCheckpoint = errors.New("this is not a checkpoint")
	// ErrSignature says that a checkpoint lacks the signature of the key that is trusted.
	ErrSignature = errors.New("the checkpoint is not signed by this key")
)

// A Checkpoint says what a log was like when it had Size events: whoever keeps it can
// tell later that none of them was changed.
type Checkpoint struct {
	Origin string // names the log, for ever
	Size   uint64
	Root   Hash
}

// A Signed is a checkpoint and the signed note that says it.
type Signed struct {
	Checkpoint
	Note []byte
}

// Text is the checkpoint without signatures, as C2SP's tlog-checkpoint writes it.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// OpenCheckpoint reads a signed checkpoint whose signature by a verifier key
// (`name+hash+key`) is good. The key's name must be the checkpoint's origin: a key signs
// for one log. Further signatures, of witnesses, are passed over.
//
// Errors: ErrCheckpoint, ErrSignature, ErrKey.
func OpenCheckpoint(signed []byte, verifierKey string) (Checkpoint, error) {
	verifier, err := verifierOf(verifierKey)
	if err != nil {
		return Checkpoint{}, err
	}
	if len(signed) > CheckpointMax {
		return Checkpoint{}, fmt.Errorf("%w: it has %d bytes", ErrCheckpoint, len(signed))
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		var unverified *note.UnverifiedNoteError
		var invalid *note.InvalidSignatureError
		if errors.As(err, &unverified) || errors.As(err, &invalid) {
			return Checkpoint{}, fmt.Errorf("%w: %s", ErrSignature, verifier.Name())
		}
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parseText(opened.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != verifier.Name() {
		return Checkpoint{}, fmt.Errorf("%w: it is of the log %q", ErrSignature, c.Origin)
	}
	return c, nil
}

// ParseCheckpoint reads a checkpoint without looking at who signed it: for those who
// have kept it themselves, and trust their own copy.
//
// Errors: ErrCheckpoint.
func ParseCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	return parseText(strings.TrimSuffix(text, "\n") + "\n")
}

func parseText(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4) // what follows the third line are extensions
	if len(lines) < 4 || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: it has not three lines", ErrCheckpoint)
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || size > math.MaxInt64 || lines[1] != strconv.FormatUint(size, 10) {
		return Checkpoint{}, fmt.Errorf("%w: its size is %q", ErrCheckpoint, lines[1])
	}
	root, err := ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

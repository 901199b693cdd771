package merkle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// SeedBytes is the length of the secret that a Signer is made from.
const SeedBytes = ed25519.SeedSize

// ErrKey says that a text is not a verifier key.
var ErrKey = errors.New("this is not a verifier key like name+1234abcd+base64")

// ValidateKey refuses a text that is not a verifier key: ErrKey.
func ValidateKey(text string) error {
	_, err := verifierOf(text)
	return err
}

func verifierOf(text string) (note.Verifier, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrKey, text)
	}
	return verifier, nil
}

// A Signer signs the checkpoints of one log with its Ed25519 key.
type Signer struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
	text string
}

// NewSigner makes a signer from a seed of SeedBytes. The log's origin follows from the
// key, so that it is the log's own in all the world, and stays the same wherever the log
// is served from.
func NewSigner(seed []byte) (*Signer, error) {
	if len(seed) != SeedBytes {
		return nil, fmt.Errorf("a signing key has %d bytes and not %d", SeedBytes, len(seed))
	}
	key := ed25519.NewKeyFromSeed(seed)
	public := key.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	const idBytes = 8
	s := &Signer{name: "truebond/" + hex.EncodeToString(sum[:idBytes]), key: key}
	var err error
	if s.text, err = note.NewEd25519VerifierKey(s.name, public); err != nil {
		return nil, fmt.Errorf("make a verifier key: %w", err)
	}
	verifier, err := note.NewVerifier(s.text)
	if err != nil {
		return nil, fmt.Errorf("make a verifier key: %w", err)
	}
	s.hash = verifier.KeyHash()
	return s, nil
}

// Origin names the log in checkpoints.
func (s *Signer) Origin() string { return s.name }

// VerifierKey is what others check signatures with: `name+hash+key`.
func (s *Signer) VerifierKey() string { return s.text }

// Sign signs what the log was like. The same state is always signed with the same bytes.
func (s *Signer) Sign(size uint64, root Hash) []byte {
	text := Checkpoint{Origin: s.name, Size: size, Root: root}.Text()
	signature := binary.BigEndian.AppendUint32(nil, s.hash)
	signature = append(signature, ed25519.Sign(s.key, []byte(text))...)
	return fmt.Appendf(nil, "%s\n— %s %s\n", text, s.name, base64.StdEncoding.EncodeToString(signature))
}

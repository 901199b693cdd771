package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	keyBytes        = 32 // AES-256, HMAC-SHA256
	saltBytes       = 32
	generationBytes = 4 // before a wrapped key: the secret's generation, the highest byte first
)

// A root is the vault's own record. Generation counts the secrets that it has had.
type root struct {
	Generation uint32 `json:"generation"`
	Salt       []byte `json:"salt"` // makes the wrapping key, together with the secret
	HMACKey    []byte `json:"hmac_key"`
	// SigningKey is the seed of the key that signs the log's checkpoints. A vault from
	// before there were any lacks it until somebody asks.
	SigningKey []byte `json:"signing_key,omitempty"`
	// Previous is the wrapping key before this one, wrapped with this one. It is there
	// while keys are still wrapped with it, until the rotation is done.
	Previous []byte `json:"previous,omitempty"`
}

// A ring is the wrapping keys at hand.
type ring struct {
	record     []byte // the root that it was made from
	generation uint32
	key        []byte
	current    cipher.AEAD
	previous   cipher.AEAD // nil unless a rotation is under way
}

// secrets are the vault's own, which a rotation wraps anew and never changes.
type secrets struct {
	hmacKey    []byte
	signingKey []byte // nil: not made yet
}

// newRoot makes a root record for a secret. before is the ring that it follows, nil if
// there is none.
func newRoot(secret string, generation uint32, own secrets, before *ring) ([]byte, error) {
	r := root{Generation: generation, Salt: randomBytes(saltBytes)}
	key, err := derive(secret, r.Salt)
	if err != nil {
		return nil, err
	}
	wrapping, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	r.HMACKey = wrapping.Seal(nil, nil, own.hmacKey, about("hmac", generation, ""))
	if own.signingKey != nil {
		r.SigningKey = wrapping.Seal(nil, nil, own.signingKey, about("signing", generation, ""))
	}
	if before != nil {
		r.Previous = wrapping.Seal(nil, nil, before.key, about("previous", generation, ""))
	}
	return json.Marshal(r)
}

// readRoot reads a root record. It refuses one with members that it does not know: a newer program has
// put them there, and they would be lost when this one writes the record.
func readRoot(record []byte) (r root, err error) {
	d := json.NewDecoder(bytes.NewReader(record))
	d.DisallowUnknownFields()
	err = d.Decode(&r)
	if err == nil && d.More() {
		err = errors.New("there is more behind it")
	}
	if err != nil {
		return r, fmt.Errorf("read the vault's root, which a newer program may have written: %w", err)
	}
	return r, nil
}

// withoutPrevious is a root record after its rotation is done.
func withoutPrevious(record []byte) ([]byte, error) {
	r, err := readRoot(record)
	if err != nil {
		return nil, err
	}
	r.Previous = nil
	return json.Marshal(r)
}

// unlock opens a root record with a secret.
func unlock(record []byte, secret string) (made ring, own secrets, err error) {
	r, err := readRoot(record)
	if err != nil {
		return made, own, err
	}
	key, err := derive(secret, r.Salt)
	if err != nil {
		return made, own, err
	}
	made = ring{record: record, generation: r.Generation, key: key}
	if made.current, err = newAEAD(key); err != nil {
		return made, own, err
	}
	if own.hmacKey, err = made.current.Open(nil, nil, r.HMACKey, about("hmac", r.Generation, "")); err != nil {
		return made, own, ErrSecret
	}
	if own.signingKey, err = made.signingKey(r); err != nil || r.Previous == nil {
		return made, own, err
	}
	previous, err := made.current.Open(nil, nil, r.Previous, about("previous", r.Generation, ""))
	if err != nil {
		return made, own, fmt.Errorf("the wrapping key before: %w", ErrTampered)
	}
	made.previous, err = newAEAD(previous)
	return made, own, err
}

// signingKey opens a root's key for checkpoints, nil if it has none.
func (r *ring) signingKey(record root) ([]byte, error) {
	if record.SigningKey == nil {
		return nil, nil
	}
	key, err := r.current.Open(nil, nil, record.SigningKey, about("signing", record.Generation, ""))
	if err != nil {
		return nil, fmt.Errorf("the key that signs checkpoints: %w", ErrTampered)
	}
	return key, nil
}

// wrap wraps an owner's key.
func (r *ring) wrap(owner string, key []byte) []byte {
	header := binary.BigEndian.AppendUint32(nil, r.generation)
	return r.current.Seal(header, nil, key, about("key", r.generation, owner))
}

// unwrap opens an owner's key, ready for use.
func (r *ring) unwrap(k Key) (cipher.AEAD, error) {
	key, err := r.unwrapBytes(k)
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

func (r *ring) unwrapBytes(k Key) ([]byte, error) {
	wrapping := r.wrapping(k)
	if wrapping == nil {
		return nil, fmt.Errorf("the key of %s is under a secret that is gone: %w", k.Owner, ErrTampered)
	}
	sealed := k.Wrapped[generationBytes:]
	key, err := wrapping.Open(nil, nil, sealed, about("key", generationOf(k), k.Owner))
	if err != nil {
		return nil, fmt.Errorf("the key of %s: %w", k.Owner, ErrTampered)
	}
	return key, nil
}

// wrapping is what a key is wrapped with, nil if it is not at hand.
func (r *ring) wrapping(k Key) cipher.AEAD {
	switch generationOf(k) {
	case 0:
		return nil
	case r.generation:
		return r.current
	case r.generation - 1:
		return r.previous
	default:
		return nil
	}
}

// checkCurrent refuses to go on with a secret that is no longer the vault's.
func (r *ring) checkCurrent(record []byte) error {
	if bytes.Equal(record, r.record) {
		return nil
	}
	if record == nil {
		return fmt.Errorf("the vault's root has gone: %w", ErrNoVault)
	}
	var now root
	if err := json.Unmarshal(record, &now); err != nil {
		return fmt.Errorf("read the vault's root: %w", err)
	}
	if now.Generation != r.generation {
		return ErrRotated
	}
	return nil
}

// generationOf is the generation that a key is wrapped under, 0 if it is cut off.
func generationOf(k Key) uint32 {
	if len(k.Wrapped) < generationBytes {
		return 0
	}
	return binary.BigEndian.Uint32(k.Wrapped)
}

// about is the associated data of what is wrapped: nothing opens in another's place.
func about(what string, generation uint32, owner string) []byte {
	return fmt.Appendf(nil, "truebond/vault/%s/%d/%s", what, generation, owner)
}

func derive(secret string, salt []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), salt, "truebond/vault/wrapping", keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive the wrapping key: %w", err)
	}
	return key, nil
}

// newAEAD is AES-256-GCM which puts a random nonce before what it seals.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

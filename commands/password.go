package commands

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of a password's hash: the second of the settings that OWASP's Password
// Storage Cheat Sheet recommends for argon2id.
const (
	argonMemoryKiB = 19 << 10
	argonRounds    = 2
	argonThreads   = 1
	argonSaltBytes = 16
	argonKeyBytes  = 32
)

// passwords hashes passwords, a few at a time, since each takes 19 MiB.
type passwords struct {
	places chan struct{}
}

// atOnceMax is how many passwords are hashed at the same time.
const atOnceMax = 4

func newPasswords() *passwords { return &passwords{places: make(chan struct{}, atOnceMax)} }

// hash is a password's argon2id hash in the PHC string format.
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSaltBytes)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	key, err := p.derive(ctx, password, salt)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKiB, argonRounds,
		argonThreads, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// fits tells whether a password has this hash. With an empty hash it takes as long and
// says no, so that an unknown e-mail address cannot be told from a wrong password.
func (p *passwords) fits(ctx context.Context, password, hash string) (bool, error) {
	salt, want := make([]byte, argonSaltBytes), make([]byte, argonKeyBytes)
	if hash != "" {
		var err error
		if salt, want, err = parseHash(hash); err != nil {
			return false, err
		}
	}
	got, err := p.derive(ctx, password, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && hash != "", nil
}

func (p *passwords) derive(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, argonRounds, argonMemoryKiB, argonThreads, argonKeyBytes), nil
}

// parseHash reads what hash wrote.
func parseHash(hash string) (salt, key []byte, err error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return nil, nil, fmt.Errorf("a stored password is not an argon2id hash")
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return nil, nil, fmt.Errorf("a stored password's salt: %w", err)
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return nil, nil, fmt.Errorf("a stored password's key: %w", err)
	}
	return salt, key, nil
}

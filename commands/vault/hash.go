package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// What is hashed. The hash of one purpose tells nothing about another's.
const (
	ForEmail   = "email"   // an address as it is compared: trimmed, in lower case
	ForRefresh = "refresh" // a refresh token
	ForAPIKey  = "apikey"
	ForRequest = "request" // what was asked under an idempotency key
)

// Hash is a text's HMAC-SHA256 under the vault's own random key, in base64url. It is the
// same for ever, after a rotation too.
func (v *Vault) Hash(purpose, text string) string {
	return base64.RawURLEncoding.EncodeToString(v.HashBytes(purpose, []byte(text)))
}

// HashBytes is the HMAC-SHA256 of several parts, 32 bytes. Where one part ends and the
// next begins counts.
func (v *Vault) HashBytes(purpose string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, v.own.hmacKey)
	write := func(part []byte) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		_, _ = mac.Write(length[:]) // a hash takes everything
		_, _ = mac.Write(part)
	}
	write([]byte(purpose))
	for _, part := range parts {
		write(part)
	}
	return mac.Sum(nil)
}

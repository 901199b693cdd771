package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
)

// Hash is a text's HMAC-SHA256 under the vault's own random key, in base64url. It is the
// same for ever, after a rotation too. For the purposes see package ledger.
func (v *Vault) Hash(purpose, text string) string {
	return base64.RawURLEncoding.EncodeToString(v.HashBytes(purpose, []byte(text)))
}

// HashBytes is the HMAC-SHA256 of several parts, 32 bytes. Where one part ends and the
// next begins counts.
func (v *Vault) HashBytes(purpose string, parts ...[]byte) []byte {
	size := 8 + len(purpose)
	for _, part := range parts {
		size += 8 + len(part)
	}
	message := appendPart(make([]byte, 0, size), purpose)
	for _, part := range parts {
		message = appendPart(message, part)
	}
	mac, ready := v.macs.Get().(hash.Hash)
	if !ready {
		mac = hmac.New(sha256.New, v.own.hmacKey)
	}
	defer v.macs.Put(mac)
	mac.Reset()
	_, _ = mac.Write(message) // a hash takes everything
	return mac.Sum(nil)
}

func appendPart[T string | []byte](message []byte, part T) []byte {
	return append(binary.BigEndian.AppendUint64(message, uint64(len(part))), part...)
}

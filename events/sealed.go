package events

import "fmt"

// Sealed is personal text that only its owner's key can open (AES-256-GCM). It is
// sealed before a decision sees it; decisions, folds and stored documents carry it
// as it is. Once its owner is erased, nobody can open it.
type Sealed struct {
	Owner string `json:"owner"` // the user whose key it takes
	Ref   string `json:"ref"`   // `<event key>#<field>`, the associated data
	Box   []byte `json:"box"`   // nonce and ciphertext
}

// SealedRef is the associated data that ties a sealed text to its place.
func SealedRef(key, field string) string { return key + "#" + field }

// checkPlace refuses a text that was sealed for another event.
func (s Sealed) checkPlace(key, field string) error {
	if s.Box == nil {
		return fmt.Errorf("%s is not sealed", field)
	}
	if s.Ref != SealedRef(key, field) {
		return fmt.Errorf("%s is sealed for another place, %q", field, s.Ref)
	}
	return nil
}

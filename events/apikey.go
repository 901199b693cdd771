package events

// APIKeyCreated is a new key for a server of the app's. The key itself is shown once
// and kept nowhere.
type APIKeyCreated struct {
	APIKey string   `json:"api_key"` // its id
	Name   string   `json:"name"`
	Hash   string   `json:"hash"` // HMAC of the key
	Scopes []string `json:"scopes"`
}

// APIKeyRevoked makes a key useless.
type APIKeyRevoked struct {
	APIKey string `json:"api_key"`
	Hash   string `json:"hash"`
}

func (APIKeyCreated) Type() string { return "api_key.created" }
func (APIKeyRevoked) Type() string { return "api_key.revoked" }

func (d APIKeyCreated) Subjects() []string { return []string{d.APIKey} }
func (d APIKeyRevoked) Subjects() []string { return []string{d.APIKey} }

var apiKeyTypes = []Type{
	typeOf[APIKeyCreated](1),
	typeOf[APIKeyRevoked](1),
}

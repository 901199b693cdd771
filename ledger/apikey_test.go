package ledger

import (
	"strings"
	"testing"

	"truebond/events"
)

func TestAnAPIKeyIsGoodUntilRevoked(t *testing.T) {
	created := events.APIKeyCreated{APIKey: "key_1", Name: "shop", Hash: "hash", Scopes: []string{ScopeDeduct}}
	s := given(t).when(CreateAPIKey(created)).then(created)
	if k := doc(s, APIKeys, "hash"); k.ID != "key_1" || k.Scopes[0] != ScopeDeduct || k.Revoked {
		t.Errorf("the key is %+v", k)
	}
	after := s.when(RevokeAPIKey("hash")).then(events.APIKeyRevoked{APIKey: "key_1", Hash: "hash"})
	if !doc(after, APIKeys, "hash").Revoked {
		t.Error("the key is still good")
	}
	after.when(RevokeAPIKey("hash")).refused(CodeNothingToDo)
	after.when(RevokeAPIKey("another")).refused(CodeNotFound)
	after.when(RevokeAPIKey("")).refused(CodeNotFound)
}

func TestAnAPIKeyHasANameAndScopesThatThereAre(t *testing.T) {
	key := func(name string, scopes ...string) Decision {
		return CreateAPIKey(events.APIKeyCreated{APIKey: "key_1", Name: name, Hash: "hash", Scopes: scopes})
	}
	s := given(t)
	s.when(key("", ScopeDeduct)).refused(CodeInvalidRequest, "name")
	s.when(key(strings.Repeat("n", 101), ScopeDeduct)).refused(CodeInvalidRequest, "name")
	s.when(key("shop")).refused(CodeInvalidRequest, "scopes")
	s.when(key("shop", "credits:grant")).refused(CodeInvalidRequest, "scopes")
	s.when(key("shop", ScopeDeduct, ScopeDeduct)).refused(CodeInvalidRequest, "scopes")
	s.and(did(key("shop", ScopeDeduct, ScopeOperator)))
}

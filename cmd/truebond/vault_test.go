package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/server"
	"truebond/commands/vault"
	"truebond/events"
	"truebond/projections/storetest"
)

const (
	oldSecret   = "the secret that the vault was under before"
	freshSecret = "the secret that the vault is to be under now"
)

// A settled server has what a rotation must leave as it is: people and what they wrote, an app's
// key, the key of the checkpoints.
type settled struct {
	data                    string
	ann                     *person
	token, refresh, partner string
	app, auditKey           string
}

func settle(t *testing.T) *settled {
	t.Helper()
	s := &settled{data: t.TempDir()}
	t.Run("settle", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: s.data, Listen: "127.0.0.1:0"})
		s.ann = w.signsUp()
		s.token, s.refresh, s.partner = s.ann.token, s.ann.refresh, w.signsUp().id
		s.ann.post("/api/v2/messages/send", map[string]any{"to": s.partner, "body": "it is me"}).is(201)
		s.app = w.operate("/api/operator/api-keys", map[string]any{"name": "gifts", "scopes": []string{"credits:deduct"}}).
			is(201).get("key")
		s.auditKey = string(w.ask("GET", "/api/audit/key", "", nil).is(200).body)
	})
	return s
}

// goesOn demands that all is as it was. After a rotation, access tokens of before are void, and
// sessions are not.
func (s *settled) goesOn(t *testing.T, rotated bool) {
	t.Helper()
	t.Run("goes on", func(t *testing.T) {
		w := serveFrom(t, server.Options{Data: s.data, Listen: "127.0.0.1:0"})
		status := 200
		if rotated {
			status = 401
		}
		w.ask("GET", "/api/auth/me", s.token, nil).is(status)
		renewed := w.refreshes(s.refresh).is(200)
		s.token, s.refresh = renewed.get("access_token"), renewed.get("refresh_token")
		w.ask("GET", "/api/auth/me", s.token, nil).is(200).says("email", s.ann.email)
		w.logsIn(s.ann.email, password).is(200).says("user.id", s.ann.id)
		w.ask("GET", "/api/v2/messages/conversation/"+s.partner, s.token, nil).is(200).says("data.0.body", "it is me")
		w.ask("POST", "/api/credits/deduct", "", map[string]any{"user_id": s.partner, "credits": 1, "reason": "r"},
			"X-API-Key", s.app, "Idempotency-Key", fmt.Sprint(time.Now().UnixNano())).is(201)
		if key := string(w.ask("GET", "/api/audit/key", "", nil).is(200).body); key != s.auditKey {
			t.Errorf("checkpoints were signed by %s, and are by %s", s.auditKey, key)
		}
	})
}

func (s *settled) rotates(t *testing.T, stdin string, code int, says string) {
	t.Helper()
	truebond(t, stdin, "vault", "rotate", "--data", s.data).ends(t, code, says)
}

// keeps tells which secrets the folder has.
func (s *settled) keeps(t *testing.T, want ...string) {
	t.Helper()
	got, err := filepath.Glob(filepath.Join(s.data, datafolder.JWTSecretFile+"*"))
	if err != nil || len(got) != len(want) {
		t.Fatalf("the folder keeps %v (%v), not %v", got, err, want)
	}
	for i, path := range got {
		if filepath.Base(path) != want[i] {
			t.Errorf("the folder keeps %v, not %v", got, want)
		}
	}
}

func TestASecretThatTheFolderKeepsIsReplaced(t *testing.T) {
	s := settle(t)
	before, err := datafolder.Folder{Path: s.data}.ReadSecret(datafolder.JWTSecretFile)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.rotates(t, "", exitDone, "is under the new secret, which is in "+filepath.Join(s.data, datafolder.JWTSecretFile))
		s.keeps(t, datafolder.JWTSecretFile)
		s.goesOn(t, true)
	}
	t.Setenv("JWT_SECRET", before)
	if _, err := server.Start(t.Context(), server.Options{Data: s.data, Listen: "127.0.0.1:0"}); !errors.Is(err, vault.ErrSecret) {
		t.Errorf("with the old secret it says %v", err)
	}
}

func TestTheVaultIsPutUnderJWT_SECRETWithTheOldOneOnStandardInput(t *testing.T) {
	for _, store := range []string{"SQLite", "MongoDB"} {
		t.Run(store, func(t *testing.T) {
			if store == "MongoDB" {
				t.Setenv("MONGO_URL", storetest.Mongo(t))
			}
			t.Setenv("JWT_SECRET", oldSecret)
			s := settle(t)
			t.Setenv("JWT_SECRET", freshSecret)
			s.rotates(t, "", exitMisused, "there is no old one on standard input")
			s.rotates(t, "a guess\n", exitFailed, "neither the old secret nor the new one opens the vault")
			s.rotates(t, oldSecret+"\n", exitDone, "The vault is under JWT_SECRET.")
			s.rotates(t, oldSecret+"\n", exitDone, "was under JWT_SECRET already")
			s.keeps(t)
			s.goesOn(t, true)
		})
	}
}

func TestAVaultMovesBetweenTheFoldersSecretAndJWT_SECRET(t *testing.T) {
	s := settle(t)
	t.Setenv("JWT_SECRET", freshSecret)
	s.rotates(t, "", exitDone, "The vault is under JWT_SECRET.")
	s.keeps(t)
	s.goesOn(t, true)
	t.Setenv("JWT_SECRET", "")
	s.rotates(t, freshSecret, exitDone, "is under the new secret")
	s.keeps(t, datafolder.JWTSecretFile)
	s.goesOn(t, true)
}

func TestAVaultIsNotRotatedUnderAServerOrWhereThereIsNone(t *testing.T) {
	data := t.TempDir()
	serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	truebond(t, "", "vault", "rotate", "--data", data).ends(t, exitFailed, "another server holds the data folder")
	none := t.TempDir()
	truebond(t, "", "vault", "rotate", "--data", none).ends(t, exitFailed, "there is no vault in "+none)
	truebond(t, "", "vault", "rotate", "--data", none+"x").ends(t, exitFailed, "there is no data folder "+none+"x")
	if entries, err := os.ReadDir(none); err != nil || len(entries) != 1 {
		t.Errorf("it left %v (%v)", entries, err)
	}
}

// A key that no secret opens is found before anything is changed.
func TestARotationThatCannotEndDoesNotBegin(t *testing.T) {
	s := settle(t)
	keys, err := vault.OpenSQLite(filepath.Join(s.data, datafolder.VaultFile))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(keys.AddKey(t.Context(), "broken", []byte("\x00\x00\x00\x01no key at all")), keys.Close(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	s.rotates(t, "", exitFailed, "the key of broken")
	s.goesOn(t, false)
}

func TestARotationThatWasCutOffIsEndedByTheNext(t *testing.T) {
	s := settle(t)
	folder := datafolder.Folder{Path: s.data}
	next, err := folder.Secret(datafolder.NextSecretFile, "")
	if err != nil {
		t.Fatal(err)
	}
	s.goesOn(t, false) // the new secret was made, and no more

	v := s.opens(t, datafolder.JWTSecretFile)
	if v == nil {
		t.Fatal("the old secret does not open the vault")
	}
	if err := v.Rotate(t.Context(), next); err != nil { // and it does not take the old one's place
		t.Fatal(err)
	}
	_, err = server.Start(t.Context(), server.Options{Data: s.data, Listen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "`truebond vault rotate` was cut off: run it again") {
		t.Errorf("it starts, or says %v", err)
	}
	s.rotates(t, "", exitDone, "was under the new secret")
	s.keeps(t, datafolder.JWTSecretFile)
	s.goesOn(t, true)
}

// opens opens the vault with a secret of the folder; nil if that does not fit.
func (s *settled) opens(t *testing.T, secretFile string) *vault.Vault {
	t.Helper()
	secret, err := datafolder.Folder{Path: s.data}.ReadSecret(secretFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	keys, err := vault.OpenSQLite(filepath.Join(s.data, datafolder.VaultFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close(t.Context()) })
	v, err := vault.Open(t.Context(), keys, secret, false)
	if err != nil && !errors.Is(err, vault.ErrSecret) {
		t.Fatal(err)
	}
	return v
}

func TestARotationThatIsKilledLosesNoKey(t *testing.T) {
	const kills, owners = 10, 300
	s := settle(t)
	texts := map[string]events.Sealed{}
	t.Run("seal", func(t *testing.T) {
		v := s.opens(t, datafolder.JWTSecretFile)
		for n := range owners {
			owner := fmt.Sprintf("usr_%d", n)
			if err := v.MakeKey(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
			sealed, err := v.Seal(t.Context(), owner, "msg/"+owner, "body", "of "+owner)
			if err != nil {
				t.Fatal(err)
			}
			texts[owner] = sealed
		}
	})
	rotated := false
	for range kills {
		before, err := datafolder.Folder{Path: s.data}.ReadSecret(datafolder.JWTSecretFile)
		if err != nil {
			t.Fatal(err)
		}
		s.rotatesAndIsKilled(t)
		t.Run("read", func(t *testing.T) {
			v := s.opens(t, datafolder.JWTSecretFile)
			if v == nil {
				v = s.opens(t, datafolder.NextSecretFile)
			}
			if v == nil {
				t.Fatal("no secret opens the vault")
			}
			for owner, sealed := range texts {
				if text, err := v.Open(t.Context(), sealed); text != "of "+owner {
					t.Fatalf("%s wrote %q: %v", owner, text, err)
				}
			}
		})
		after, err := datafolder.Folder{Path: s.data}.ReadSecret(datafolder.JWTSecretFile)
		if err != nil {
			t.Fatal(err)
		}
		rotated = rotated || after != before
	}
	s.rotates(t, "", exitDone, "under the new secret")
	s.keeps(t, datafolder.JWTSecretFile)
	s.goesOn(t, true)
	t.Logf("a killed one had ended: %v", rotated)
}

// rotatesAndIsKilled starts a rotation in a process of its own, and kills that at any moment.
func (s *settled) rotatesAndIsKilled(t *testing.T) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "vault", "rotate", "--data", s.data)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(rand.N(150 * time.Millisecond))
	_ = cmd.Process.Kill() // it has ended already, perhaps
	_ = cmd.Wait()
}

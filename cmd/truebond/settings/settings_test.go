package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"truebond/cmd/truebond/datafolder"
)

func emptyFolder(t *testing.T) datafolder.Folder {
	t.Helper()
	d, err := datafolder.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// unset runs a test in an empty folder, without any setting in the environment.
func unset(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, each := range new(Settings).table() {
		t.Setenv(each.name, "")
	}
}

func TestTheExampleHasExactlyTheSettingsThatAreRead(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, each := range new(Settings).table() {
		want.WriteString(each.name + "=\n")
	}
	if string(text) != want.String() {
		t.Errorf(".env.example is\n%s\nand must be\n%s", text, want.String())
	}
}

func TestEverySettingIsRead(t *testing.T) {
	unset(t)
	valid := map[string]string{
		"MONGO_URL":         "mongodb://a:1,b:2/db",
		"REDIS_URL":         "redis://localhost:6379/0",
		"JWT_SECRET":        strings.Repeat("s", secretBytesMin),
		"STRIPE_SECRET_KEY": "sk_test_1",
		"FRONTEND_URL":      "https://app.example.com",
		"BACKEND_URL":       "https://api.example.com",

		"CLOUD_STORAGE_PROVIDER": "https://s3.eu-central-1.amazonaws.com",
	}
	want := map[string]string{}
	for _, each := range new(Settings).table() {
		want[each.name] = "value of " + each.name
		if v, special := valid[each.name]; special {
			want[each.name] = v
		}
		t.Setenv(each.name, want[each.name])
	}
	s, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range s.table() {
		if *each.value != want[each.name] {
			t.Errorf("%s is %q, not %q", each.name, *each.value, want[each.name])
		}
	}
}

func TestADotEnvFileFillsWhatTheEnvironmentLeavesEmpty(t *testing.T) {
	unset(t)
	t.Setenv("EMAIL_FROM", "from the environment")
	file := "# ours\n\nEMAIL_FROM=from the file\nexport EMAIL_PROVIDER = \"smtp = 1\"\nEMAIL_API_KEY='#1'\nVITE_PORT=3\n"
	if err := os.WriteFile(dotEnv, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if s.EmailFrom != "from the environment" || s.EmailProvider != "smtp = 1" || s.EmailAPIKey != "#1" {
		t.Errorf("read %+v", s)
	}
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "VITE_PORT") {
		t.Errorf("warned of %q", s.Warnings)
	}
}

func TestSettingsThatCannotWorkAreRefusedByNameAndNotRepeated(t *testing.T) {
	for name, value := range map[string]string{
		"MONGO_URL":         "postgres://me:pass1word@host/db",
		"REDIS_URL":         "localhost:pass1word",
		"JWT_SECRET":        "pass1word",
		"STRIPE_SECRET_KEY": "pk_test_pass1word",
		"FRONTEND_URL":      "pass1word",
		"BACKEND_URL":       "ftp://pass1word",

		"CLOUD_STORAGE_PROVIDER": "pass1word",
	} {
		t.Run(name, func(t *testing.T) {
			unset(t)
			t.Setenv(name, value)
			_, err := Read()
			if err == nil {
				t.Fatalf("%s=%s was accepted", name, value)
			}
			if !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "pass1word") {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

func TestTheTestClockIsRefusedWithALiveStripeKey(t *testing.T) {
	for key, refused := range map[string]bool{
		"": false, "sk_test_1": false, "rk_test_1": false, "sk_live_1": true, "rk_live_1": true,
	} {
		err := Settings{StripeSecretKey: key}.ValidateTestClock()
		if (err != nil) != refused {
			t.Errorf("with the key %q it says %v", key, err)
		}
	}
}

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	data := emptyFolder(t)
	var first, second Settings
	for _, s := range []*Settings{&first, &second} {
		if err := s.FillSecrets(data, true); err != nil {
			t.Fatal(err)
		}
	}
	if first.JWTSecret != second.JWTSecret || first.StripeWebhookSecret != second.StripeWebhookSecret {
		t.Error("a second start has other secrets")
	}
	if len(first.JWTSecret) < secretBytesMin || !strings.HasPrefix(first.StripeWebhookSecret, "whsec_") {
		t.Errorf("the secrets are %q and %q", first.JWTSecret, first.StripeWebhookSecret)
	}
	given := Settings{JWTSecret: "given", StripeWebhookSecret: "given too"}
	if err := given.FillSecrets(data, false); err != nil || given.JWTSecret != "given" {
		t.Errorf("a given secret became %q (%v)", given.JWTSecret, err)
	}
}

// A new one would open no vault, and look as if it were the one that was lost.
func TestNoSecretIsMadeForALogThatHasOne(t *testing.T) {
	data := emptyFolder(t)
	if err := (&Settings{}).FillSecrets(data, false); err == nil || !strings.Contains(err.Error(), "bring the secret back") {
		t.Errorf("it says %v", err)
	}
	if _, err := os.Stat(data.Join(datafolder.JWTSecretFile)); err == nil {
		t.Error("it was made all the same")
	}
}

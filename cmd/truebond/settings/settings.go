// Package settings reads what the surroundings say of a server.
package settings

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"truebond/cmd/truebond/datafolder"
	"truebond/cmd/truebond/wording"
	"truebond/commands/blob"
)

// Settings are what the surroundings say: fourteen names and no others. Each that is
// empty has an embedded default that works on one machine.
type Settings struct {
	MongoURL             string // mongodb://…; empty: SQLite in the data folder
	RedisURL             string // redis://…; empty: limits and presence in the process
	JWTSecret            string // empty: made at first start, kept in the data folder
	StripeSecretKey      string // empty: payments are simulated
	StripeWebhookSecret  string // empty: made at first start, kept in the data folder
	EmailProvider        string // empty: mail is shown on the console
	EmailAPIKey          string
	EmailFrom            string
	CloudStorageProvider string // empty: nothing is kept in a bucket
	CloudStorageKey      string
	CloudStorageSecret   string
	CloudStorageBucket   string
	FrontendURL          string // the app's origin; empty: none may call from a browser
	BackendURL           string // where clients reach this server; empty: where it listens

	// Warnings are what an operator should know of these settings before serving.
	Warnings []string
}

// dotEnv is read from the working folder, for what the environment leaves empty.
const dotEnv = ".env"

const secretBytesMin = 32 // RFC 7518, 3.2: an HS256 key is as long as its hash

type setting struct {
	name  string
	value *string
}

// table names all settings, in the order of .env.example.
func (s *Settings) table() []setting {
	return []setting{
		{"MONGO_URL", &s.MongoURL},
		{"REDIS_URL", &s.RedisURL},
		{"JWT_SECRET", &s.JWTSecret},
		{"STRIPE_SECRET_KEY", &s.StripeSecretKey},
		{"STRIPE_WEBHOOK_SECRET", &s.StripeWebhookSecret},
		{"EMAIL_PROVIDER", &s.EmailProvider},
		{"EMAIL_API_KEY", &s.EmailAPIKey},
		{"EMAIL_FROM", &s.EmailFrom},
		{"CLOUD_STORAGE_PROVIDER", &s.CloudStorageProvider},
		{"CLOUD_STORAGE_KEY", &s.CloudStorageKey},
		{"CLOUD_STORAGE_SECRET", &s.CloudStorageSecret},
		{"CLOUD_STORAGE_BUCKET", &s.CloudStorageBucket},
		{"FRONTEND_URL", &s.FrontendURL},
		{"BACKEND_URL", &s.BackendURL},
	}
}

// Names are the names of all settings.
func Names() (names []string) {
	for _, each := range new(Settings).table() {
		names = append(names, each.name)
	}
	return names
}

// Read reads the environment, and the file .env of the working folder for what
// the environment leaves empty. It refuses values that cannot work, by their name; a
// secret's value is never part of an error.
func Read() (Settings, error) {
	var s Settings
	fallback := map[string]string{}
	file, err := os.Open(dotEnv)
	switch {
	case err == nil:
		defer file.Close() //nolint:errcheck // it is only read
		if fallback, s.Warnings, err = readDotEnv(file); err != nil {
			return s, fmt.Errorf("read %s: %w", dotEnv, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("read settings: %w", err)
	}
	for _, each := range s.table() {
		if *each.value = os.Getenv(each.name); *each.value == "" {
			*each.value = fallback[each.name]
		}
	}
	if s.StripeSecretKey != "" && s.StripeWebhookSecret == "" {
		s.Warnings = append(s.Warnings, "STRIPE_SECRET_KEY is set and STRIPE_WEBHOOK_SECRET is not:"+
			" no webhook of Stripe's can be verified, so no payment brings credits in")
	}
	if s.HasStorage() && s.storage().Open() {
		s.Warnings = append(s.Warnings, "CLOUD_STORAGE_PROVIDER is not https: the archive can be read on its way")
	}
	return s, s.validate()
}

// readDotEnv reads lines of NAME=value. Empty lines and those that begin with # say
// nothing; a value may stand in single or double quotes. Other programs' names are
// passed over with a warning.
func readDotEnv(r io.Reader) (values map[string]string, warnings []string, err error) {
	known := map[string]bool{}
	for _, each := range new(Settings).table() {
		known[each.name] = true
	}
	values = map[string]string{}
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		switch {
		case !found:
			return nil, nil, fmt.Errorf("line %d is not NAME=value", number)
		case known[name]:
			values[name] = unquote(strings.TrimSpace(value))
		default:
			warnings = append(warnings, fmt.Sprintf("line %d of %s: there is no setting %q", number, dotEnv, name))
		}
	}
	return values, warnings, lines.Err()
}

func unquote(value string) string {
	for _, quote := range []string{`"`, `'`} {
		if len(value) >= 2 && strings.HasPrefix(value, quote) && strings.HasSuffix(value, quote) {
			return value[1 : len(value)-1]
		}
	}
	return value
}

func (s Settings) validate() error {
	return errors.Join(
		validateURL("MONGO_URL", s.MongoURL, "mongodb", "mongodb+srv"),
		validateURL("REDIS_URL", s.RedisURL, "redis", "rediss"),
		validateURL("FRONTEND_URL", s.FrontendURL, "http", "https"),
		validateURL("BACKEND_URL", s.BackendURL, "http", "https"),
		s.validateSecrets(),
		s.validateStorage(),
	)
}

func (s Settings) validateSecrets() error {
	if n := len(s.JWTSecret); n > 0 && n < secretBytesMin {
		return fmt.Errorf("JWT_SECRET has %s; %d are the least", wording.Counted(n, "byte", "bytes"), secretBytesMin)
	}
	if k := s.StripeSecretKey; k != "" && !strings.HasPrefix(k, "sk_") && !strings.HasPrefix(k, "rk_") {
		return errors.New("STRIPE_SECRET_KEY is not a secret key of Stripe's: it begins with neither sk_ nor rk_")
	}
	return nil
}

// storage is where the cloud storage settings lead.
func (s Settings) storage() blob.Place {
	return blob.Place{Provider: s.CloudStorageProvider, Key: s.CloudStorageKey, Secret: s.CloudStorageSecret,
		Bucket: s.CloudStorageBucket}
}

// HasStorage tells whether any of them is set.
func (s Settings) HasStorage() bool { return s.storage() != blob.Place{} }

func (s Settings) validateStorage() error {
	if !s.HasStorage() {
		return nil
	}
	if err := s.storage().ValidateProvider(); s.CloudStorageProvider != "" && err != nil {
		return fmt.Errorf("CLOUD_STORAGE_PROVIDER cannot work: %w", err)
	}
	for _, each := range s.table() {
		if strings.HasPrefix(each.name, "CLOUD_STORAGE_") && *each.value == "" {
			return fmt.Errorf("%s is missing: the four CLOUD_STORAGE settings go together", each.name)
		}
	}
	if err := s.storage().Validate(); err != nil {
		return fmt.Errorf("the CLOUD_STORAGE settings: %w", err)
	}
	return nil
}

// Bucket opens the bucket of the cloud storage settings.
func (s Settings) Bucket() (*blob.Bucket, error) {
	if !s.HasStorage() {
		return nil, errors.New("there is no bucket: the CLOUD_STORAGE settings are empty")
	}
	return blob.OpenBucket(s.storage())
}

// validateURL does not repeat the value, which may hold a password.
func validateURL(name, value string, schemes ...string) error {
	if value == "" {
		return nil
	}
	for _, scheme := range schemes {
		// Mongo lists several hosts, which net/url does not read.
		if rest, ok := strings.CutPrefix(value, scheme+"://"); ok && rest != "" {
			if _, err := url.Parse(value); err != nil && !strings.HasPrefix(scheme, "mongodb") {
				return fmt.Errorf("%s is not a URL", name)
			}
			return nil
		}
	}
	return fmt.Errorf("%s must begin with %s://", name, strings.Join(schemes, ":// or "))
}

// ValidateTestClock refuses a clock that stands still where real money moves.
func (s Settings) ValidateTestClock() error {
	if strings.HasPrefix(s.StripeSecretKey, "sk_live_") || strings.HasPrefix(s.StripeSecretKey, "rk_live_") {
		return errors.New("--test-clock is refused together with a live Stripe key")
	}
	return nil
}

// FillSecrets gives the secrets that are not set those of the data folder, which it makes when there
// are none. A log that is not empty has a vault, which none but its own secret opens.
func (s *Settings) FillSecrets(data datafolder.Folder, logEmpty bool) error {
	var err error
	if s.JWTSecret == "" {
		find := data.ReadSecret
		if logEmpty {
			find = func(name string) (string, error) { return data.Secret(name, "") }
		}
		s.JWTSecret, err = find(datafolder.JWTSecretFile)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("JWT_SECRET is empty, and %s is not there: bring the secret back that opens the vault",
				data.Join(datafolder.JWTSecretFile))
		}
		if err != nil {
			return err
		}
	}
	if s.StripeWebhookSecret == "" {
		s.StripeWebhookSecret, err = data.Secret(datafolder.WebhookSecretFile, "whsec_")
	}
	return err
}

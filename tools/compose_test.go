package tools

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"
)

// compose is compose.yaml as docker compose would read it, checked against the compose
// specification's schema.
func compose(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatalf("compose.yaml is not what the compose specification says: %v", err)
	}
	return project
}

func TestThreeServersShareTheirSecretsAndNothingElse(t *testing.T) {
	load := func(env ...string) (*types.Project, error) {
		options, err := cli.NewProjectOptions([]string{"../compose.yaml", "../compose.cluster.yaml"},
			cli.WithConsistency(true), cli.WithEnv(env))
		if err != nil {
			t.Fatal(err)
		}
		return options.LoadProject(context.Background())
	}
	if _, err := load(); err == nil {
		t.Error("three servers start with secrets of their own")
	}
	project, err := load("JWT_SECRET=a", "STRIPE_WEBHOOK_SECRET=b")
	if err != nil {
		t.Fatal(err)
	}
	s := project.Services["truebond"]
	if s.Deploy.Replicas == nil || *s.Deploy.Replicas != 3 || s.Deploy.Resources.Limits == nil {
		t.Errorf("they are %+v", s.Deploy)
	}
	if len(s.Volumes) > 0 {
		t.Errorf("they share %v, and each needs its own data folder", s.Volumes)
	}
	if len(s.Ports) != 3 && (len(s.Ports) != 1 || s.Ports[0].Published != "8080-8082") {
		t.Errorf("they listen at %+v", s.Ports)
	}
}

func TestTheSpecificationIsReallyAsked(t *testing.T) {
	text, err := os.ReadFile("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][2]string{
		{"healthcheck:", "healthchek:"},
		{"retries: 20", "retries: many"},
		{"condition: service_healthy", "condition: service_happy"},
		{"networks: [stores]", "networks: [shops]"},
	} {
		file := filepath.Join(t.TempDir(), "compose.yaml")
		broken := strings.Replace(string(text), wrong[0], wrong[1], 1)
		if broken == string(text) {
			t.Fatalf("compose.yaml has no %q", wrong[0])
		}
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		options, err := cli.NewProjectOptions([]string{file}, cli.WithConsistency(true))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := options.LoadProject(context.Background()); err == nil {
			t.Errorf("%q instead of %q was not refused", wrong[1], wrong[0])
		}
	}
}

func TestComposeRunsTheServiceWithAllThatItNeeds(t *testing.T) {
	got := slices.Sorted(maps.Keys(compose(t).Services))
	want := []string{
		"mongo-1", "mongo-2", "mongo-3", "nats-1", "nats-2", "nats-3", "redis", "truebond",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the services are %v, not %v", got, want)
	}
}

// exactTag is an image with a whole version: it never means another one tomorrow.
var exactTag = regexp.MustCompile(`^[a-z]+:\d+\.\d+\.\d+(-[a-z0-9.]+)?$`)

func TestImagesArePinned(t *testing.T) {
	from := regexp.MustCompile(`(?m)^FROM (\S+)`)
	for name, s := range compose(t).Services {
		images := []string{s.Image}
		if s.Build != nil {
			images = nil
			for _, line := range from.FindAllStringSubmatch(s.Build.DockerfileInline, -1) {
				images = append(images, line[1])
			}
		}
		if len(images) == 0 {
			t.Errorf("%s has no image", name)
		}
		for _, image := range images {
			if !exactTag.MatchString(image) {
				t.Errorf("%s: the image %q is not pinned", name, image)
			}
		}
	}
}

func TestEveryServiceIsWatchedAndBounded(t *testing.T) {
	for name, s := range compose(t).Services {
		if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 {
			t.Errorf("%s has no health check", name)
		}
		if s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 {
			t.Errorf("%s has no limit of memory", name)
		}
		if name != "truebond" && len(s.Ports) > 0 {
			t.Errorf("%s can be reached from outside", name)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s listens to the world, without TLS", name)
			}
		}
	}
}

func TestNATSKeepsTheLogAsTheDesignSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	content := compose(t).Configs["nats"].Content
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("nats-server does not take its settings: %v", err)
	}
	if !got.JetStream || !got.SyncAlways {
		t.Error("events are acknowledged before they are on disk")
	}
	if len(got.Routes) != 3 {
		t.Errorf("the cluster has %d servers, not 3", len(got.Routes))
	}
	if got.HTTPHost != "127.0.0.1" {
		t.Error("monitoring is exposed")
	}
	if len(got.Users) != 1 || got.NoAuthUser != got.Users[0].Username {
		t.Fatal("there is not exactly one user, whom everybody is")
	}
	denied := got.Users[0].Permissions.Publish.Deny
	for _, subject := range []string{
		"$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.UPDATE.EVENTS",
		"$JS.API.STREAM.MSG.DELETE.EVENTS",
	} {
		if !slices.Contains(denied, subject) {
			t.Errorf("the service may publish to %s", subject)
		}
	}
}

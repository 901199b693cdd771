// Package blobtest has a real S3 service for tests, which goes with the test.
package blobtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"truebond/events/porttest"
)

// Service is an S3 service with one empty bucket.
type Service struct{ URL, Key, Secret, Bucket string }

const startTimeout = 60 * time.Second // a busy machine is slow, not broken

// S3 starts the VersityGW that tools/servers.sh installs, on a free port. Without one the
// test is skipped, or fails where the environment has CI=true.
func S3(t testing.TB) Service {
	t.Helper()
	program, err := installed()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("start versitygw: %v", err)
		}
		t.Skipf("SKIPPED, NOTHING IS TESTED: versitygw: %v; install it with"+
			" `go tool -modfile=tools/go.mod task servers`", err)
	}
	const tries = 3 // somebody else may take the free port first
	for try := 1; ; try++ {
		s, err := start(t, program)
		if err == nil {
			return s
		}
		if try == tries {
			t.Fatalf("start versitygw: %v", err)
		}
	}
}

// installed finds the program: in the checkout that the test runs in, or on the path.
func installed() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; filepath.Dir(folder) != folder; folder = filepath.Dir(folder) {
		at := filepath.Join(folder, ".cache", "bin", "versitygw")
		if _, err := os.Stat(at); err == nil {
			return at, nil
		}
	}
	return exec.LookPath("versitygw")
}

func start(t testing.TB, program string) (Service, error) {
	t.Helper()
	s := Service{Key: "test", Secret: "a secret of the test", Bucket: "bucket"}
	address, err := porttest.One()
	if err != nil {
		return s, err
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, s.Bucket), 0o700); err != nil {
		return s, err
	}
	cmd := exec.Command(program, "--access", s.Key, "--secret", s.Secret, "--port", address, "--quiet", "posix", //nolint:gosec // ours
		"--sidecar", t.TempDir(), root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it fails only when it has ended
		<-ended
	})
	s.URL = "http://" + address
	return s, answers(t.Context(), s.URL, ended)
}

func answers(ctx context.Context, url string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			return answer.Body.Close()
		}
		select {
		case <-ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

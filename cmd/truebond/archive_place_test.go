package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnArchiveOfNothingMakesNoFolder(t *testing.T) {
	alone(t)
	to := filepath.Join(t.TempDir(), "archive")
	truebond(t, "", "archive", "--data", filepath.Join(t.TempDir(), "none"), "--to", to).
		ends(t, exitFailed, "there is no data folder")
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Errorf("the archive's folder is there: %v", err)
	}
}

func TestAnArchiveIsNotKeptAmongTheLogsFiles(t *testing.T) {
	data := t.TempDir()
	_, err := startServer(t.Context(), options{data: data, listen: "127.0.0.1:0", archive: data + "/."})
	if err == nil || !strings.Contains(err.Error(), "the data folder itself") {
		t.Errorf("a server says %v", err)
	}
	truebond(t, "", "archive", "--data", data, "--to", data).ends(t, exitMisused, "the data folder itself")
}

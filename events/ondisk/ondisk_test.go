package ondisk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsReplacedAndNothingIsLeftBeside(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "note")
	// A crash has left the beginning of a longer one.
	if err := os.WriteFile(path+".new", []byte("half of something lon"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"old", "new"} {
		if err := Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		holds(t, path, content)
	}
	if names, err := os.ReadDir(folder); err != nil || len(names) != 1 {
		t.Errorf("there are %v: %v", names, err)
	}
}

func TestAStagedFileStandsBesideWhatIsThere(t *testing.T) {
	folder := t.TempDir()
	for range 2 {
		path, err := Stage(folder, ".put-*", []byte("one"))
		if err != nil {
			t.Fatal(err)
		}
		holds(t, path, "one")
	}
	if names, err := os.ReadDir(folder); err != nil || len(names) != 2 {
		t.Errorf("there are %v: %v", names, err)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q: %v", path, got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
}

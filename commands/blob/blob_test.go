package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"truebond/commands/blob/blobtest"
)

func TestAFolderKeepsObjects(t *testing.T) {
	suite(t, func(t *testing.T) Store { return folder(t, t.TempDir()) })
}

func TestABucketKeepsObjects(t *testing.T) {
	suite(t, func(t *testing.T) Store { return bucket(t, "") })
}

func TestABucketKeepsObjectsUnderAPrefix(t *testing.T) {
	suite(t, func(t *testing.T) Store { return bucket(t, "/some/where") })
}

func folder(t *testing.T, path string) *Folder {
	t.Helper()
	f, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func bucket(t *testing.T, prefix string) *Bucket {
	t.Helper()
	s := blobtest.S3(t)
	b, err := OpenBucket(Place{Provider: s.URL, Key: s.Key, Secret: s.Secret, Bucket: s.Bucket + prefix})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// suite is what every store does.
func suite(t *testing.T, open func(*testing.T) Store) {
	t.Run("what is put is got", func(t *testing.T) {
		s := open(t)
		for _, size := range []int{0, 1, 70_000, 6 << 20} {
			name := fmt.Sprintf("a/%d.bin", size)
			content := bytes.Repeat([]byte{7, 0, 255, '\n', 13}, size/5+1)[:size]
			put(t, s, name, content)
			if got := get(t, s, name); !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back of %d", len(got), size)
			}
		}
	})
	t.Run("what is there stays", func(t *testing.T) {
		s := open(t)
		put(t, s, "a", []byte("first"))
		if err := s.PutIfAbsent(t.Context(), "a", []byte("second")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second put says %v", err)
		}
		if got := get(t, s, "a"); string(got) != "first" {
			t.Errorf("it is %q now", got)
		}
	})
	t.Run("of many at once, one wins", func(t *testing.T) {
		s := open(t)
		var won atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				err := s.PutIfAbsent(t.Context(), "once", fmt.Append(nil, i))
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d have won", won.Load())
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		s := open(t)
		if _, err := s.Get(t.Context(), "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("get says %v", err)
		}
		if err := s.Delete(t.Context(), "none"); err != nil {
			t.Errorf("delete says %v", err)
		}
		if names := list(t, s, ""); len(names) != 0 {
			t.Errorf("there are %v", names)
		}
	})
	t.Run("lists are in order, and by prefix", func(t *testing.T) {
		s := open(t)
		for _, name := range []string{"log/2", "log/10", "logs", "media/1", "log/1"} {
			put(t, s, name, []byte(name))
		}
		if names := list(t, s, "log/"); !slices.Equal(names, []string{"log/1", "log/10", "log/2"}) {
			t.Errorf("log/ has %v", names)
		}
		if err := s.Delete(t.Context(), "log/10"); err != nil {
			t.Error(err)
		}
		if names := list(t, s, ""); !slices.Equal(names, []string{"log/1", "log/2", "logs", "media/1"}) {
			t.Errorf("all are %v", names)
		}
	})
	t.Run("more than a page is listed", func(t *testing.T) {
		s := open(t)
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for i := worker; i < 1100; i += 8 {
					put(t, s, fmt.Sprintf("many/%04d", i), []byte("x"))
				}
			})
		}
		all.Wait()
		if names := list(t, s, "many/"); len(names) != 1100 || !slices.IsSorted(names) {
			t.Errorf("%d are listed", len(names))
		}
	})
	t.Run("strange names are refused", func(t *testing.T) {
		s := open(t)
		for _, name := range []string{"", "/a", "a/", "../a", "a/../b", "a//b", ".a", "a/.b", "a b", "ä", "a\x00",
			strings.Repeat("a", nameBytesMax+1)} {
			if err := s.PutIfAbsent(t.Context(), name, []byte("x")); err == nil {
				t.Errorf("%q can be put", name)
			}
			if _, err := s.Get(t.Context(), name); err == nil {
				t.Errorf("%q can be got", name)
			}
			if err := s.Delete(t.Context(), name); err == nil {
				t.Errorf("%q can be deleted", name)
			}
		}
		if err := s.PutIfAbsent(t.Context(), "large", make([]byte, ObjectBytesMax+1)); err == nil {
			t.Error("an object can be of any size")
		}
		if names := list(t, s, ""); len(names) != 0 {
			t.Errorf("there are %v", names)
		}
	})
	t.Run("whoever does not wait is not kept waiting", func(t *testing.T) {
		s := open(t)
		if _, isFolder := s.(*Folder); isFolder {
			t.Skip("a file system does not wait either")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("list says %v", err)
		}
		if err := s.PutIfAbsent(ctx, "a", []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("put says %v", err)
		}
	})
}

func put(t *testing.T, s Store, name string, content []byte) {
	t.Helper()
	if err := s.PutIfAbsent(t.Context(), name, content); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, s Store, name string) []byte {
	t.Helper()
	content, err := s.Get(t.Context(), name)
	if err != nil {
		t.Error(err)
	}
	return content
}

func list(t *testing.T, s Store, prefix string) []string {
	t.Helper()
	names, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAFolderIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "archive")
	put(t, folder(t, path), "log/1", []byte("x"))
	for _, at := range []string{path, filepath.Join(path, "log"), filepath.Join(path, "log", "1")} {
		info, err := os.Stat(at)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v (%v)", at, info.Mode(), err)
		}
	}
}

// What a crash leaves of a file that was being written is never listed, and goes when it
// is old enough to be nobody's work.
func TestWhatACrashLeavesIsNoObject(t *testing.T) {
	path := t.TempDir()
	put(t, folder(t, path), "log/1", []byte("x"))
	old, young := filepath.Join(path, "log", stagedPrefix+"old"), filepath.Join(path, "log", stagedPrefix+"young")
	for _, at := range []string{old, young} {
		if err := os.WriteFile(at, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	f := folder(t, path)
	if names := list(t, f, ""); !slices.Equal(names, []string{"log/1"}) {
		t.Errorf("there are %v", names)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one is gone: %v", err)
	}
}

func TestAFolderThatIsNotThereIsNotMadeToBeRead(t *testing.T) {
	if _, err := ExistingFolder(filepath.Join(t.TempDir(), "mistyped")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it says %v", err)
	}
}

func TestAPlaceSaysWhatCannotWork(t *testing.T) {
	good := Place{Provider: "s3", Key: "k", Secret: "s", Bucket: "b/p"}
	for _, provider := range []string{"s3", "https://s3.eu-central-1.amazonaws.com", "http://127.0.0.1:9000",
		"https://fly.storage.tigris.dev?region=auto"} {
		p := good
		p.Provider = provider
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", provider, err)
		}
		if p.Open() != strings.HasPrefix(provider, "http:") {
			t.Errorf("%s is open to all: %v", provider, p.Open())
		}
	}
	for what, change := range map[string]func(*Place){
		"a provider that there is not": func(p *Place) { p.Provider = "gcs" },
		"a URL with a path":            func(p *Place) { p.Provider = "https://s3.example.com/bucket" },
		"a URL with a secret":          func(p *Place) { p.Provider = "https://k:s@s3.example.com" },
		"no bucket":                    func(p *Place) { p.Bucket = "/p" },
		"no key":                       func(p *Place) { p.Key = "" },
		"no secret":                    func(p *Place) { p.Secret = "" },
	} {
		p := good
		change(&p)
		if p.Validate() == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestABucketThatIsNotThereIsNotAMissingObject(t *testing.T) {
	b := bucket(t, "")
	b.bucket = "no-such-bucket"
	if _, err := b.Get(t.Context(), "a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get says %v", err)
	}
	if err := b.PutIfAbsent(t.Context(), "a", []byte("x")); err == nil {
		t.Error("an object can be put into no bucket")
	}
}

func TestAListingThatStopsHalfwayIsNotWaitedForForEver(t *testing.T) {
	leave := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`<?xml version="1.0"?><ListBucketResult>`))
		_ = http.NewResponseController(w).Flush()
		<-leave
	}))
	defer service.Close()
	defer close(leave)
	bucket, err := OpenBucket(Place{Provider: service.URL + "?region=here", Key: "key", Secret: "secret", Bucket: "things"})
	if err != nil {
		t.Fatal(err)
	}
	bucket.patience = 100 * time.Millisecond
	listed := make(chan error, 1)
	go func() {
		_, err := bucket.List(t.Context(), "")
		listed <- err
	}()
	select {
	case err := <-listed:
		if err == nil {
			t.Error("half a listing is taken for a whole one")
		}
	case <-time.After(10 * time.Second):
		t.Error("it is still waited for")
	}
}

func TestAFolderMayBeALink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	store, err := OpenFolder(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutIfAbsent(t.Context(), "log/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]int{"": 1, "log/": 1, "log/1": 1, "log/2": 0, "l": 1, "other/": 0} {
		if names, err := store.List(t.Context(), prefix); err != nil || len(names) != want {
			t.Errorf("%q lists %v: %v", prefix, names, err)
		}
	}
}

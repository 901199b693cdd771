package jetstream

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"truebond/cmd/truebond/disktest"
	"truebond/events"
)

// badDisk cannot read some pages of blocks.
type badDisk struct {
	fs.ReadLinkFS
	from, to int64
}

func (d badDisk) Open(name string) (fs.File, error) {
	f, err := d.ReadLinkFS.Open(name)
	if file, ok := f.(*os.File); ok && strings.HasSuffix(name, ".blk") {
		return badFile{file, d}, err
	}
	return f, err
}

type badFile struct {
	*os.File
	badDisk
}

func (f badFile) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) <= f.from || at >= f.to {
		return f.File.ReadAt(p, at)
	}
	n, err := f.File.ReadAt(p[:max(0, f.from-at)], at)
	if err == nil {
		err = syscall.EIO
	}
	return n, err
}

// What a disk cannot read is damaged, and lost alone.
func TestWhatADiskCannotReadIsDamaged(t *testing.T) {
	for name, bad := range map[string]badDisk{
		"a page":        {from: 2 * pageBytes, to: 3 * pageBytes},
		"the beginning": {to: pageBytes},
		"the end":       {from: 5 * pageBytes, to: 1 << 20},
		"all":           {to: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			o, all := written(t, 60)
			block, err := os.ReadFile(blocksIn(o.Dir).name(1))
			if err != nil {
				t.Fatal(err)
			}

			copied := t.TempDir()
			bad.ReadLinkFS = os.DirFS(filepath.Join(o.Dir, "log")).(fs.ReadLinkFS)
			if err := os.CopyFS(filepath.Join(copied, "log"), readable{bad}); err != nil {
				t.Fatal(err)
			}
			o.Dir, o.Damaged = copied, true
			l := open(t, o)
			lost, end := 0, 0
			for i, want := range all {
				begin := end
				end = bytes.Index(block, want.Body) + len(want.Body) + recordHash
				if int64(begin) < bad.to && int64(end) > bad.from {
					lost++
					continue
				}
				got, err := l.Read(t.Context(), uint64(i)+1)
				if err != nil {
					t.Errorf("event %d: %v", i+1, err)
					continue
				}
				same(t, []events.Record{got}, []events.Record{want})
			}
			if lost == 0 || lost == len(all) && name != "all" {
				t.Errorf("%d of %d are lost", lost, len(all))
			}
		})
	}
}

// A crash leaves half of an event, and all of it can be read.
func TestWhatADiskCannotReadIsNoHalfWrittenEvent(t *testing.T) {
	d := disktest.New(t, 32<<20)
	o := patient(t)
	o.Dir = t.TempDir()
	l := open(t, o)
	appended(t, l, 0, newWriting(t, "a").next(t, 0, 60))
	closed(t, l)
	block, moved := blocksIn(o.Dir).name(1), filepath.Join(d.Dir, "1.blk")
	content, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(moved, content, 0o600), os.Remove(block), os.Symlink(moved, block)); err != nil {
		t.Fatal(err)
	}
	d.Spoil(t, moved, 2*pageBytes)
	if _, err := os.ReadFile(block); !errors.Is(err, syscall.EIO) {
		t.Fatalf("reading it: %v", err)
	}
	_, err = Open(t.Context(), o)
	failsWith(t, err, ErrRotten)
}

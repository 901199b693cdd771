// Package blob keeps things too large for a database: segments of the log's archive, and
// pictures. A folder and an S3-compatible bucket stand behind one interface and pass one
// suite of tests.
package blob

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
)

// ObjectBytesMax bounds one object. All that we keep is read into memory whole.
const ObjectBytesMax = 64 << 20

// nameBytesMax is what a file's name may have on every system, and fits into S3's 1,024.
const nameBytesMax = 200

// A Store keeps objects under names such as `log/0001.zst`. An object is there whole or
// not at all, whenever the process or the connection ends, and never changes while it is
// there. Its methods may be called at the same time.
type Store interface {
	// PutIfAbsent puts an object, which is durable when it returns. Its error wraps
	// fs.ErrExist when there is one of that name; that one stays.
	PutIfAbsent(ctx context.Context, name string, content []byte) error
	// Get reads an object. Its error wraps fs.ErrNotExist when there is none.
	Get(ctx context.Context, name string) ([]byte, error)
	// List names the objects whose names begin with a prefix, in their order.
	List(ctx context.Context, prefix string) ([]string, error)
	// Delete removes an object; it is no error when there is none.
	Delete(ctx context.Context, name string) error
	// String says where it is, without secrets.
	String() string
}

// checkName refuses names that mean different things to a folder and to a bucket.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > nameBytesMax:
		return fmt.Errorf("the name %q has %d bytes; 1 to %d are allowed", name, len(name), nameBytesMax)
	case strings.ContainsFunc(name, func(r rune) bool { return !isPlain(r) }):
		return fmt.Errorf("the name %q has letters beyond a-z, A-Z, 0-9, and ._-/", name)
	case path.Clean(name) != name || strings.HasPrefix(name, "/") || strings.HasPrefix(name, ".") ||
		strings.Contains(name, "/."):
		return fmt.Errorf("the name %q is not a plain path", name)
	}
	return nil
}

func isPlain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-/", r)
}

func checkObject(name string, content []byte) error {
	if len(content) > ObjectBytesMax {
		return fmt.Errorf("%s has %d bytes; %d are allowed", name, len(content), ObjectBytesMax)
	}
	return checkName(name)
}

var errTooLarge = errors.New("it is larger than anything that is kept here")

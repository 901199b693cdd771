package jetstream

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Readable is a folder as far as its disk can be read. Where it cannot, its files have zeros: no
// record is zeros, so that what is lost there is found to be damaged, and what stands around it is not.
func Readable(folder string) fs.FS {
	return readable{os.DirFS(folder).(fs.ReadLinkFS)} // as os promises
}

type readable struct{ fs.ReadLinkFS }

func (r readable) Open(name string) (fs.File, error) {
	f, err := r.ReadLinkFS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	at, ok := f.(io.ReaderAt)
	if !ok || !info.Mode().IsRegular() {
		return f, nil
	}
	content, _, err := readAround(at, info.Size())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return wholeFile{f, bytes.NewReader(content)}, nil
}

// A wholeFile was read to its end when it was opened.
type wholeFile struct {
	fs.File
	content io.Reader
}

func (f wholeFile) Read(p []byte) (int, error) { return f.content.Read(p) }

const pageBytes = 4 << 10 // what a system reads at once: one bad sector makes all of it unreadable

// readAround reads a file, with zeros for the pages that its disk cannot read. It tells if there are any.
func readAround(f io.ReaderAt, size int64) (content []byte, lost bool, err error) {
	content = make([]byte, size)
	for at := 0; at < len(content); {
		n, err := f.ReadAt(content[at:], int64(at))
		at += n
		switch {
		case errors.Is(err, syscall.EIO):
			next := min((at/pageBytes+1)*pageBytes, len(content))
			clear(content[at:next])
			at, lost = next, true
		case errors.Is(err, io.EOF): // it was cut off meanwhile
			return content[:at], lost, nil
		case err != nil:
			return nil, false, err
		}
	}
	return content, lost, nil
}

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	nethttp "net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A sound folder is one that a server has left in good order, and all that was seen of it.
type soundFolder struct {
	data   string
	kept   string // a file with a checkpoint of its last event
	secret string // of its webhooks
	staff  string // token of finance
	people []*person
	bodies [][]byte
	shown  map[string]string // what people were shown, by who asked and for what
	sizes  map[string]int64  // of its files
}

var shownPaths = []string{"/api/credits/balance", "/api/credits/history?limit=100", "/api/payments/history"}

func laySoundFolder(t *testing.T) *soundFolder {
	t.Helper()
	home := t.TempDir()
	f := &soundFolder{data: filepath.Join(home, "data"), kept: filepath.Join(home, "kept"), shown: map[string]string{}}
	t.Run("lay a log", func(t *testing.T) { // its end stops the server
		w := serveFrom(t, options{data: f.data, listen: "127.0.0.1:0", compareEvery: 0})
		l := &load{t: t, acked: map[string]promise{}}
		l.prepare(w, 3)
		f.secret, f.people, f.staff = w.secret, l.people, w.staff("finance")
		for i := range 60 {
			w.ask("POST", bulkPath, l.key, []byte(l.bulk(fmt.Sprint("rot-", i))), "Idempotency-Key", fmt.Sprint("rot-", i)).is(200)
		}
		write(t, f.kept, w.ask("GET", "/api/audit/checkpoint", "", nil, "Ledger-Position", w.position()).is(200).body)
		last, err := strconv.Atoi(w.position())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.people {
			for _, path := range shownPaths {
				f.shown[p.id+path] = string(p.get(path).is(200).body)
			}
		}
		for i := range last {
			f.bodies = append(f.bodies, w.event(f.staff, uint64(i+1)).is(200).body)
		}
	})
	return f
}

func (w *world) event(token string, position uint64) answer {
	w.t.Helper()
	return w.askOn(w.socket, "http://operator", "GET", fmt.Sprintf("/api/audit/events/%d", position), token, nil)
}

func (f *soundFolder) copied(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, os.DirFS(f.data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	return data
}

// A flip is one bit of a file that is to be the other one.
type flip struct {
	what   string
	file   string
	offset int64
	log    bool // it is in the stored bytes of the log
	killed bool // the server was killed: NATS has no index that it trusts
}

func (f flip) String() string { return fmt.Sprintf("%s, %s at %d", f.what, filepath.Base(f.file), f.offset) }

func (f flip) do(t *testing.T, data string) {
	t.Helper()
	name := filepath.Join(data, f.file)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[f.offset] ^= 1 << rand.IntN(8)
	write(t, name, text)
	if f.killed {
		if err := os.Remove(filepath.Join(data, filepath.Dir(f.file), "index.db")); err != nil {
			t.Fatal(err)
		}
	}
}

// flips are those to be tried: some of each part of each kind of file.
func (f *soundFolder) flips(t *testing.T) (all []flip) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(f.data), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		t.Log(name, info.Size())
		if filepath.Ext(name) == ".blk" {
			all = append(all, blockFlips(t, f.data, name)...)
			return nil
		}
		all = append(all, flip{what: "first byte", file: name}, flip{what: "last byte", file: name, offset: info.Size() - 1})
		for range 2 {
			all = append(all, flip{what: "any byte", file: name, offset: rand.Int64N(info.Size())})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// blockFlips are flips in each part of a record at the beginning, in the middle and at the
// end of a block. A record is its length (4 bytes, the highest bit says that there are headers), position (8), time
// (8), length of its subject (2), subject, length of its headers (4), headers, body, hash (8).
func blockFlips(t *testing.T, data, name string) (all []flip) {
	t.Helper()
	block, err := os.ReadFile(filepath.Join(data, name))
	if err != nil {
		t.Fatal(err)
	}
	var records []int64
	for at := 0; at < len(block); at += int(binary.LittleEndian.Uint32(block[at:]) &^ (1 << 31)) {
		records = append(records, int64(at))
	}
	for where, at := range map[string]int64{
		"first": records[0], "middle": records[len(records)/2], "last": records[len(records)-1],
	} {
		length := int64(binary.LittleEndian.Uint32(block[at:]) &^ (1 << 31))
		subject := int64(binary.LittleEndian.Uint16(block[at+20:]))
		headers := int64(binary.LittleEndian.Uint32(block[at+22+subject:]))
		for part, offset := range map[string]int64{
			"length": rand.Int64N(4), "position": 4 + rand.Int64N(8), "time": 12 + rand.Int64N(8), "subject's length": 20 + rand.Int64N(2),
			"subject": 22 + rand.Int64N(subject), "headers' length": 22 + subject + rand.Int64N(4),
			"headers": 26 + subject + rand.Int64N(headers), "body": 26 + subject + headers + rand.Int64N(length-34-subject-headers),
			"hash": length - 8 + rand.Int64N(8),
		} {
			for _, killed := range []bool{false, true} {
				all = append(all, flip{fmt.Sprintf("%s record, %s, killed=%v", where, part, killed), name, at + offset, true, killed})
			}
		}
	}
	return all
}

func TestAFlippedBitIsHarmlessOrFound(t *testing.T) {
	f := laySoundFolder(t)
	flips := f.flips(t)
	outcomes := map[string]int{}
	for _, flip := range flips {
		t.Run(flip.String(), func(t *testing.T) {
			outcome := f.suffers(t, flip)
			outcomes[filepath.Base(flip.file)+": "+outcome]++
			t.Log(outcome)
		})
	}
	for outcome, n := range outcomes {
		t.Log(n, outcome)
	}
}

// suffers flips a bit and tells what came of it.
func (f *soundFolder) suffers(t *testing.T, flip flip) string {
	t.Helper()
	data := f.copied(t)
	flip.do(t, data)
	if flip.log {
		other := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(other, os.DirFS(data)); err != nil {
			t.Fatal(err)
		}
		os.Chmod(other, 0o700)
		code, said := runs(t, "verify", "--data", other, "--checkpoint", f.kept)
		t.Log("VERIFY", code, said)
		if code != exitFailed {
			t.Errorf("verify does not find it: %s", said)
		}
	}
	c, err := launch(t, options{data: data, listen: "127.0.0.1:0"}, nil)
	if err != nil {
		t.Log("REFUSED", err)
		if strings.Contains(err.Error(), "panic:") || strings.Contains(err.Error(), "goroutine ") {
			t.Error("it panics")
		}
		return "refused"
	}
	defer c.kill(t)
	w := visit(t, data)
	wrong, refused := f.differences(w)
	if strings.Contains(c.hasSaid(), "panic") {
		t.Errorf("it panics:\n%s", c.hasSaid())
	}
	t.Log("SAID", c.hasSaid())
	for _, s := range slices.Concat(wrong, refused) {
		t.Log("DIFF", s)
	}
	code, said := runs(t, "compare", "--data", data)
	ready := w.ask("GET", "/readyz", "", nil)
	t.Log("COMPARE", code, said, "READY", ready.status, string(ready.body))
	switch {
	case len(wrong) > 0 && code == exitDone:
		t.Errorf("wrong answers, and nothing notices: %q", wrong)
	case len(wrong) > 0:
		return "wrong, found by compare"
	case len(refused) > 0 && code == exitDone:
		return "refused single answers, compare finds nothing"
	case len(refused) > 0:
		return "refused single answers"
	case code != exitDone:
		return "right, compare fails"
	}
	return "right"
}

// differences asks for all, and tells what is answered otherwise, and what is not answered.
func (f *soundFolder) differences(w *world) (wrong, refused []string) {
	note := func(what string, a answer, want string) {
		switch {
		case a.status >= 500 || a.status == nethttp.StatusUnauthorized:
			refused = append(refused, fmt.Sprintf("%s: %d %s", what, a.status, a.body))
		case a.status != 200 || string(a.body) != want:
			wrong = append(wrong, fmt.Sprintf("%s: %d %.300s", what, a.status, a.body))
		}
	}
	for _, p := range f.people {
		for _, path := range shownPaths {
			note(p.id+path, w.ask("GET", path, p.token, nil), f.shown[p.id+path])
		}
	}
	for i, body := range f.bodies {
		note(fmt.Sprintf("event %d", i+1), w.event(f.staff, uint64(i+1)), string(body))
	}
	return wrong, refused
}

var _ = bytes.Equal

package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	nethttp "net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"truebond/cmd/truebond/server"
	"truebond/commands/stripe"
)

var rotFlips = flag.Int("flips", 1, "bits flipped at random in each file, and rounds of those in a block")

// A sound folder is one that a server has left in good order, and all that was seen of it.
type soundFolder struct {
	data   string
	kept   string // a file with a checkpoint of its last event
	backup string // folder of an archive of it
	secret string // of its webhooks
	people []*person
	last   int               // position of its last event
	shown  map[string]string // what people were shown, by who asked and for what
	killed map[string][]byte // the stores' files as a kill would have left them, by name
}

var shownPaths = []string{
	"/api/auth/me", "/api/credits/balance", "/api/credits/history?limit=100", "/api/payments/history",
}

// show asks for all that can be asked of the folder's server.
func (f *soundFolder) show(w *world, note func(what string, a answer)) {
	for _, p := range f.people {
		for _, path := range shownPaths {
			note(p.id+path, w.ask("GET", path, p.token, nil))
		}
	}
	for i := range f.last {
		for _, path := range []string{"/api/audit/events/%d", "/api/audit/receipt/%d"} {
			path = fmt.Sprintf(path, i+1)
			note(path, w.askOn(w.socket, "http://operator", "GET", path, "", nil))
		}
	}
}

func laySoundFolder(t *testing.T) *soundFolder {
	t.Helper()
	home := t.TempDir()
	f := &soundFolder{data: filepath.Join(home, "data"), kept: filepath.Join(home, "kept"),
		backup: filepath.Join(home, "backup"), shown: map[string]string{}}
	t.Run("lay a log", func(t *testing.T) { // its end stops the server
		w := serveFrom(t, server.Options{Data: f.data, Listen: "127.0.0.1:0"})
		l := &load{t: t, acked: map[string]promise{}}
		l.prepare(w, 3)
		f.secret, f.people = w.secret, l.people
		for i := range 30 {
			id := fmt.Sprint("rot-", i)
			w.ask("POST", bulkPath, l.key, []byte(l.bulk(id)), "Idempotency-Key", id).is(200)
		}
		var err error
		if f.last, err = strconv.Atoi(w.position()); err != nil {
			t.Fatal(err)
		}
		write(t, f.kept, w.checkpoint("Ledger-Position", w.position()).body)
		f.show(w, func(what string, a answer) { f.shown[what] = string(a.is(200).body) })
		f.killed = storeFiles(t, f.data)
	})
	if code, said := runs(t, "archive", "--data", f.data, "--to", f.backup); code != exitDone {
		t.Fatalf("no archive: %s", said)
	}
	return f
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
	killed bool // the server was killed: NATS has no index that it trusts, stores have a write-ahead log
}

// store tells whether it is in a file of SQLite's.
func (f flip) store() bool { return strings.Contains(f.file, ".db") && !strings.Contains(f.file, "/") }

func (f flip) String() string {
	return fmt.Sprintf("%s, %s at %d", f.what, filepath.Base(f.file), f.offset)
}

func (f flip) do(t *testing.T, data string) {
	t.Helper()
	f.invert(t, data)
	if f.killed && f.log {
		if err := os.Remove(filepath.Join(data, filepath.Dir(f.file), "index.db")); err != nil {
			t.Fatal(err)
		}
	}
}

func (f flip) invert(t *testing.T, data string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(data, f.file), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var b [1]byte
	if _, err := file.ReadAt(b[:], f.offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rand.IntN(8)
	if _, err := file.WriteAt(b[:], f.offset); err != nil {
		t.Fatal(err)
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
		if filepath.Ext(name) == ".blk" {
			for range *rotFlips {
				all = append(all, blockFlips(t, f.data, name)...)
			}
			return nil
		}
		all = append(all, flip{what: "first byte", file: name})
		if *rotFlips > 1 {
			all = append(all, flip{what: "last byte", file: name, offset: info.Size() - 1})
		}
		for range *rotFlips {
			all = append(all, flip{what: "any byte", file: name, offset: rand.Int64N(info.Size())})
		}
		if filepath.Ext(name) == ".db" && name == filepath.Base(name) {
			all = append(all, pageFlips(t, f.data, name)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range f.killed {
		for range 2 * *rotFlips {
			all = append(all, flip{what: "any byte after a kill", file: name,
				offset: rand.Int64N(int64(len(content))), killed: true})
		}
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
		body := 26 + subject + headers
		for part, offset := range map[string]int64{
			"length": rand.Int64N(4), "position": 4 + rand.Int64N(8), "time": 12 + rand.Int64N(8),
			"subject's length": 20 + rand.Int64N(2), "subject": 22 + rand.Int64N(subject),
			"headers' length": 22 + subject + rand.Int64N(4), "headers": 26 + subject + rand.Int64N(headers),
			"body": body + rand.Int64N(length-8-body), "hash": length - 8 + rand.Int64N(8),
		} {
			for _, killed := range []bool{false, true} {
				if *rotFlips == 1 && killed == (offset%2 == 0) {
					continue // one of the two will do
				}
				what := where + " record's " + part
				if killed {
					what += " after a kill"
				}
				all = append(all, flip{what, name, at + offset, true, killed})
			}
		}
	}
	return all
}

func TestAFlippedBitIsHarmlessOrFound(t *testing.T) {
	f := laySoundFolder(t)
	outcomes := map[string]int{}
	for _, flip := range f.flips(t) {
		t.Run(flip.String(), func(t *testing.T) {
			outcomes[fmt.Sprintf("%s: %s", filepath.Base(flip.file), f.suffers(t, flip))]++
		})
	}
	for outcome, times := range outcomes {
		t.Log(outcome, times)
	}
}

// suffers flips a bit in a copy and tells what came of it. No event may be skipped, no answer
// wrong without anything noticing, and rot in the log must be told by its place.
func (f *soundFolder) suffers(t *testing.T, flip flip) string {
	t.Helper()
	data := f.copied(t)
	if flip.store() && flip.killed {
		for name, content := range f.killed {
			write(t, filepath.Join(data, name), content)
		}
	}
	flip.do(t, data)
	before, err := os.ReadFile(filepath.Join(data, flip.file))
	if err != nil {
		t.Fatal(err)
	}
	if flip.log || flip.store() && !flip.killed { // a kill leaves pages that the write-ahead log has anew
		code, said := runs(t, "verify", "--data", data, "--checkpoint", f.kept)
		if code != exitFailed || !strings.Contains(said, filepath.Join(data, flip.file)) {
			t.Errorf("verify does not find it: %d %s", code, said)
		}
	}
	server, err := launch(t, server.Options{Data: data, Listen: "127.0.0.1:0"}, nil)
	if err != nil {
		if strings.Contains(err.Error(), "goroutine ") {
			t.Errorf("it panics: %v", err)
		}
		if (flip.log || flip.store()) && !strings.Contains(err.Error(), filepath.Join(data, flip.file)) {
			t.Errorf("it does not say where: %v", err)
		}
		if after, err := os.ReadFile(filepath.Join(data, flip.file)); flip.log && (err != nil || string(after) != string(before)) {
			t.Errorf("it has changed what is damaged: %v", err)
		}
		if flip.log && strings.HasPrefix(flip.what, "middle") {
			f.mended(t, data)
		}
		return "refuses to start"
	}
	defer server.kill()
	wrong, refused := f.differences(visit(t, data))
	if said := server.hasSaid(); strings.Contains(said, "goroutine ") {
		t.Errorf("it panics: %s", said)
	}
	if flip.store() && len(refused) > 0 {
		f.told(t, data, flip, server)
	}
	found := false
	if flip.store() {
		code, said := runs(t, "compare", "--data", data)
		if found = code != exitDone; found {
			t.Log(said[strings.LastIndex(strings.TrimSpace(said), "\n")+1:])
		}
	}
	switch {
	case flip.log:
		t.Error("it serves a log that is damaged")
	case len(wrong) > 0:
		t.Errorf("wrong answers: %q", wrong)
	case len(refused) > 0:
		t.Logf("%q", refused)
		return "serves, and refuses what it cannot read"
	case found:
		return "all answers are right; compare finds it"
	}
	return "all answers are right"
}

// mended demands that a damaged log can be restored from the archive.
func (f *soundFolder) mended(t *testing.T, data string) {
	t.Helper()
	code, said := runs(t, "restore", "--from", f.backup, "--data", data)
	if code != exitDone || !strings.Contains(said, "1 event is damaged") {
		t.Fatalf("it is not restored: %d %s", code, said)
	}
	if code, said := runs(t, "verify", "--data", data, "--checkpoint", f.kept); code != exitDone {
		t.Errorf("it was not mended: %s", said)
	}
}

// differences asks for all, and tells what is answered otherwise, and what is not answered.
func (f *soundFolder) differences(w *world) (wrong, refused []string) {
	f.show(w, func(what string, a answer) {
		switch {
		case a.status >= nethttp.StatusInternalServerError:
			refused = append(refused, fmt.Sprintf("%s: %d %s", what, a.status, a.body))
		case string(a.body) != f.shown[what]:
			wrong = append(wrong, fmt.Sprintf("%s: %d %.300s", what, a.status, a.body))
		}
	})
	note := w.paid("evt_rot", succeeded, "pi_rot", 100)
	a := w.ask("POST", "/api/webhooks/stripe", "", note, "Stripe-Signature", stripe.Sign(note, f.secret, time.Now()))
	if a.status/100 != 2 {
		refused = append(refused, fmt.Sprintf("a webhook: %d %s", a.status, a.body))
	}
	return wrong, refused
}

// Where lengths are wrong, a server that meets the damage cuts all off that stands there.
func TestRotIsFoundWhileServing(t *testing.T) {
	for _, part := range []string{"middle record's body", "first record's length"} {
		t.Run(part, func(t *testing.T) { rotIsFoundWhileServing(t, part) })
	}
}

func rotIsFoundWhileServing(t *testing.T, part string) {
	data := t.TempDir()
	prepareLoad(t, data)
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0", CompareEvery: time.Second})
	if ready := w.ask("GET", "/readyz", "", nil); ready.status != 200 {
		t.Fatalf("not ready before: %s", ready.body)
	}
	name := filepath.Join("log", "jetstream", "$G", "streams", "EVENTS", "msgs", "1.blk")
	for _, flip := range blockFlips(t, data, name) {
		if strings.HasPrefix(flip.what, part) {
			flip.invert(t, data) // in one bit, or in two
		}
	}
	unknown := func() bool {
		return strings.Contains(string(w.ask("GET", "/metrics", "", nil).body), "\ntruebond_log_damaged_position 0\n")
	}
	for deadline := time.Now().Add(30 * time.Second); unknown(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing notices it")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if w.ask("GET", "/readyz", "", nil).status == 200 {
		t.Error("it is ready")
	}
	code, said := runs(t, "compare", "--data", data)
	for end := time.Now().Add(time.Minute); strings.Contains(said, "compared already") && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond) // as it is each second
		code, said = runs(t, "compare", "--data", data)
	}
	if code == exitDone || !strings.Contains(said, "damaged") {
		t.Errorf("compare reads a damaged log: %d %s", code, said)
	}
}

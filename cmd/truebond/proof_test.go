package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"truebond/cmd/truebond/server"
	"truebond/events/merkle"
)

// A witness sees a log as the world does: it has the key, and believes what follows
// from it. It knows the tiles' addresses from C2SP's document, and is Go's own for the rest.
type witness struct {
	w   *world
	key string
}

func (w *world) witness() witness {
	w.t.Helper()
	a := w.ask("GET", "/api/audit/key", "", nil).is(200)
	return witness{w, strings.TrimSpace(string(a.body))}
}

// sees is the log as of the last checkpoint.
func (v witness) sees(headers ...string) tlog.Tree {
	v.w.t.Helper()
	a := v.w.checkpoint(headers...)
	if got := a.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		v.w.t.Errorf("a checkpoint is %s", got)
	}
	return v.opens(string(a.body))
}

// checkpoint waits for a checkpoint. A server that has just started, or a busy one, tells that there is
// none yet.
func (w *world) checkpoint(headers ...string) answer {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		a := w.ask("GET", "/api/audit/checkpoint", "", nil, headers...)
		if a.get("code") != "tree_building" || time.Now().After(end) {
			return a.is(200)
		}
	}
}

func (v witness) opens(signed string) tlog.Tree {
	v.w.t.Helper()
	verifier, err := note.NewVerifier(v.key)
	if err != nil {
		v.w.t.Fatal(err)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		v.w.t.Fatalf("the checkpoint is not signed: %v\n%s", err, signed)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || !strings.HasPrefix(lines[0], "truebond/") {
		v.w.t.Fatalf("not a checkpoint: %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: hashOf(v.w.t, lines[2])}
}

func hashOf(t testing.TB, text string) (h tlog.Hash) {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil || copy(h[:], decoded) != len(h) {
		t.Fatalf("%q is not a hash", text)
	}
	return h
}

func hashesOf(t testing.TB, path any) []tlog.Hash {
	t.Helper()
	list, isList := path.([]any)
	if !isList {
		t.Fatalf("the path is %v", path)
	}
	hashes := make([]tlog.Hash, len(list))
	for i, text := range list {
		hashes[i] = hashOf(t, text.(string))
	}
	return hashes
}

// Height, ReadTiles and SaveTiles make the witness a tlog.TileReader.
func (v witness) Height() int { return 8 }

func (v witness) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := fmt.Sprintf("/api/audit/tile/%d/%s", tile.L, tilePath(tile.N, tile.W))
		a := v.w.ask("GET", path, "", nil).is(200)
		if a.header.Get("Content-Type") != "application/octet-stream" ||
			a.header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			v.w.t.Errorf("a tile comes with %v", a.header)
		}
		data[i] = a.body
	}
	return data, nil
}

func (v witness) SaveTiles([]tlog.Tile, [][]byte) {}

func tilePath(n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width < 256 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

func TestAWitnessFindsAllThatItIsTold(t *testing.T) {
	for _, where := range everywhere {
		t.Run(where.name, func(t *testing.T) {
			w := begin(t, where)
			v, finance := w.witness(), w.staff("finance")
			ann, bob := w.signsUp(), w.signsUp()
			earlier := v.sees()
			for range 9 {
				ann.sends(bob, "hello")
			}
			ann.get("/api/credits/balance").is(200)
			now := v.sees("Ledger-Position", w.position())
			if fmt.Sprint(now.N) != w.position() || now.N <= earlier.N {
				t.Fatalf("the log has %d events, had %d, and ends at %s", now.N, earlier.N, w.position())
			}
			isConsistent(t, v, earlier, now)
			leaves, err := tlog.TileHashReader(now, v).ReadHashes(leafIndexes(now.N))
			if err != nil {
				t.Fatalf("the tiles do not have the root that was signed: %v", err)
			}
			entries := entriesOf(t, w.ask("GET", "/api/audit/tile/entries/"+tilePath(0, int(now.N)), finance, nil).is(200).body)
			for i, leaf := range leaves {
				position := i + 1
				body := w.ask("GET", fmt.Sprint("/api/audit/events/", position), finance, nil).is(200).body
				if tlog.RecordHash(body) != leaf || !bytes.Equal(entries[i], body) {
					t.Errorf("the event %d is not the one in the tree:\n%s\n%s", position, body, entries[i])
				}
				isProved(t, v, position, now, leaf)
			}
		})
	}
}

func leafIndexes(n int64) []int64 {
	indexes := make([]int64, n)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(i))
	}
	return indexes
}

func entriesOf(t *testing.T, tile []byte) (entries [][]byte) {
	t.Helper()
	for len(tile) > 0 {
		length := int(binary.BigEndian.Uint16(tile))
		entries, tile = append(entries, tile[2:2+length]), tile[2+length:]
	}
	return entries
}

func isConsistent(t *testing.T, v witness, earlier, later tlog.Tree) {
	t.Helper()
	a := v.w.ask("GET", fmt.Sprintf("/api/audit/consistency?from=%d&to=%d", earlier.N, later.N), "", nil).is(200)
	a.says("from", earlier.N, "to", later.N)
	if err := tlog.CheckTree(hashesOf(t, a.members["path"]), later.N, later.Hash, earlier.N, earlier.Hash); err != nil {
		t.Errorf("the log does not begin with what it was: %v", err)
	}
}

// isProved asks for the proof of an event in the last checkpoint, and in that of a log
// that ended with it.
func isProved(t *testing.T, v witness, position int, now tlog.Tree, leaf tlog.Hash) {
	t.Helper()
	for _, size := range []int64{now.N, int64(position)} {
		a := v.w.ask("GET", fmt.Sprintf("/api/audit/proof/%d?size=%d", position, size), "", nil).is(200)
		a.says("index", position-1, "size", size, "leaf_hash", base64.StdEncoding.EncodeToString(leaf[:]))
		tree := v.opens(a.get("checkpoint"))
		if tree.N != size || size == now.N && tree != now {
			t.Errorf("the proof has the checkpoint %+v", tree)
		}
		if err := tlog.CheckRecord(hashesOf(t, a.members["path"]), size, tree.Hash, int64(position-1), leaf); err != nil {
			t.Errorf("event %d is not in a log of %d: %v", position, size, err)
		}
	}
}

func TestTheLogProvesWhatItIs(t *testing.T) {
	w := begin(t, everywhere[0])
	finance := w.staff("finance")
	for _, c := range []struct {
		name string
		test func(t *testing.T, w *world, finance string)
	}{
		{"a checkpoint covers an event soon after it", aCheckpointCoversAnEventSoonAfterIt},
		{"what is asked wrongly is named", whatIsAskedWronglyIsNamed},
		{"a tile of events is packed for who takes that", aTileOfEventsIsPackedForWhoTakesThat},
		{"an erasure leaves the tree as it was", anErasureLeavesTheTreeAsItWas},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, w, finance) })
	}
}

func aCheckpointCoversAnEventSoonAfterIt(t *testing.T, w *world, _ string) {
	v := w.witness()
	ann := w.signsUp()
	position, err := strconv.ParseInt(w.position(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// Within a second, says the product. A slow machine gets more; what never comes fails.
	for deadline := time.Now().Add(10 * time.Second); v.sees().N < position; {
		if time.Now().After(deadline) {
			t.Fatalf("no checkpoint covers event %d of %s", position, ann.id)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func whatIsAskedWronglyIsNamed(t *testing.T, w *world, finance string) {
	last, err := strconv.Atoi(w.position())
	if err != nil {
		t.Fatal(err)
	}
	beyond := strconv.Itoa(last + 1000)
	for path, want := range map[string]struct {
		status          int
		code, field, in string
	}{
		"/api/audit/proof/0":                         {422, "invalid_values", "#/position", "path"},
		"/api/audit/proof/x":                         {400, "invalid_fields", "#/position", "path"},
		"/api/audit/proof/-1":                        {400, "invalid_fields", "#/position", "path"},
		"/api/audit/proof/" + beyond:                 {404, "not_found", "#/position", "path"},
		"/api/audit/proof/1?size=0":                  {422, "invalid_values", "#/size", "query"},
		"/api/audit/proof/1?size=" + beyond:          {400, "beyond_checkpoint", "#/size", "query"},
		"/api/audit/proof/2?size=1":                  {400, "beyond_checkpoint", "#/position", "path"},
		"/api/audit/proof/1?sice=1":                  {400, "invalid_fields", "#/sice", "query"},
		"/api/audit/consistency":                     {422, "invalid_values", "#/from", "query"},
		"/api/audit/consistency?from=1":              {422, "invalid_values", "#/to", "query"},
		"/api/audit/consistency?from=3&to=2":         {422, "invalid_values", "#/from", "query"},
		"/api/audit/consistency?from=0&to=2":         {422, "invalid_values", "#/from", "query"},
		"/api/audit/consistency?from=1&to=" + beyond: {400, "beyond_checkpoint", "#/to", "query"},
		"/api/audit/events/0":                        {422, "invalid_values", "#/position", "path"},
		"/api/audit/events/" + beyond:                {404, "not_found", "#/position", "path"},
		"/api/audit/receipt/" + beyond:               {404, "not_found", "#/position", "path"},
		"/api/audit/tile/0/0":                        {422, "invalid_values", "#/index", "path"},
		"/api/audit/tile/0/000.p/256":                {422, "invalid_values", "#/index", "path"},
		"/api/audit/tile/64/000":                     {422, "invalid_values", "#/level", "path"},
		"/api/audit/tile/-1/000":                     {422, "invalid_values", "#/level", "path"},
		"/api/audit/tile/00/000":                     {400, "invalid_fields", "#/level", "path"},
		"/api/audit/tile/+0/000":                     {400, "invalid_fields", "#/level", "path"},
		"/api/audit/tile/63/000":                     {404, "not_found", "", ""},
		"/api/audit/proof/01":                        {400, "invalid_fields", "#/position", "path"},
		"/api/audit/proof/2?size=02":                 {400, "invalid_fields", "#/size", "query"},
		"/api/audit/tile/0/000":                      {404, "not_found", "", ""},
		"/api/audit/tile/0/x001/000.p/1":             {404, "not_found", "", ""},
		"/api/audit/tile/1/000.p/1":                  {404, "not_found", "", ""},
		"/api/audit/tile/entries/000":                {404, "not_found", "", ""},
		"/api/audit/tile/entries/x0":                 {422, "invalid_values", "#/index", "path"},
		"/api/audit/tile/x/000":                      {400, "invalid_fields", "#/level", "path"},
	} {
		a := w.ask("GET", path, finance, nil).is(want.status)
		a.says("code", want.code, "errors.0.pointer", want.field, "errors.0.in", want.in)
	}
}

func aTileOfEventsIsPackedForWhoTakesThat(t *testing.T, w *world, finance string) {
	path := "/api/audit/tile/entries/000.p/2"
	plain := w.ask("GET", path, finance, nil, "Accept-Encoding", "identity, gzip;q=0").is(200)
	if plain.header.Get("Content-Encoding") != "" || len(entriesOf(t, plain.body)) != 2 {
		t.Errorf("it is sent as %v", plain.header)
	}
	packed := w.ask("GET", path, finance, nil, "Accept-Encoding", "br, gzip").is(200)
	unpack, err := gzip.NewReader(bytes.NewReader(packed.body))
	if err != nil {
		t.Fatalf("%v: %v", packed.header, err)
	}
	if body, err := io.ReadAll(unpack); err != nil || !bytes.Equal(body, plain.body) ||
		packed.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("packed with %v, it is %q: %v", packed.header, body, err)
	}
	for _, a := range []answer{plain, packed} {
		if !slices.Contains(a.header.Values("Vary"), "Accept-Encoding") ||
			a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
			t.Errorf("it comes with %v", a.header)
		}
	}
}

func anErasureLeavesTheTreeAsItWas(t *testing.T, w *world, finance string) {
	v := w.witness()
	ann := w.signsUp()
	before := v.sees("Ledger-Position", w.position())
	receipts := map[int]answer{}
	for position := 1; position <= int(before.N); position++ {
		receipts[position] = w.ask("GET", fmt.Sprintf("/api/audit/proof/%d?size=%d", position, before.N), "", nil).is(200)
	}
	w.operate("/api/operator/erase", map[string]any{"user_id": ann.id, "reason": "asked for"}).is(200)
	after := v.sees("Ledger-Position", w.position())
	if after.N <= before.N {
		t.Fatal("the erasure is no event")
	}
	isConsistent(t, v, before, after)
	for position, was := range receipts {
		body := w.ask("GET", fmt.Sprint("/api/audit/events/", position), finance, nil).is(200).body
		leaf := merkle.LeafHash(body)
		if got := base64.StdEncoding.EncodeToString(leaf[:]); got != was.get("leaf_hash") {
			t.Errorf("event %d is another one after the erasure", position)
		}
	}
}

// It is built again from the log once somebody sees to it; no proof that it gives is wrong meanwhile.
func TestATreeWhoseFilesAreDamagedIsNobodysFault(t *testing.T) {
	data := t.TempDir()
	w := serveFrom(t, server.Options{Data: data, Listen: "127.0.0.1:0"})
	w.signsUp()
	finance, size := w.staff("finance"), w.position()
	w.witness().sees("Ledger-Position", size)
	hashes := filepath.Join(data, "tree", "0")
	sound, err := os.ReadFile(hashes)
	if err != nil {
		t.Fatal(err)
	}
	write(t, hashes, make([]byte, len(sound)))
	for _, path := range []string{"proof/1", "proof/1?size=2", "consistency?from=2&to=" + size, "receipt/1"} {
		a := w.ask("GET", "/api/audit/"+path, finance, nil).is(503).says("code", "store_unavailable")
		if a.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	}
}

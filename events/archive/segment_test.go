package archive

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"truebond/events"
)

func TestASegmentIsReadAsItWasWrittenAndNoOtherWay(t *testing.T) {
	pack, unpack := newCodecs(t)
	rapid.Check(t, func(t *rapid.T) {
		var tree edge
		for i := range rapid.IntRange(0, 20).Draw(t, "before") {
			tree.add(fmt.Append(nil, i))
		}
		line := rapid.SliceOfN(rapid.ByteRange(' ', '~'), 1, 300)
		s := Segment{First: tree.tree.Size() + 1, edge: tree.nodes(), Bodies: rapid.SliceOfN(line, 1, 40).Draw(t, "bodies")}
		n, object, err := s.encode(pack)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(n, object, unpack)
		if err != nil || back.First != s.First || !slices.EqualFunc(back.Bodies, s.Bodies, bytes.Equal) {
			t.Fatalf("%d bodies came back as %d: %v", len(s.Bodies), len(back.Bodies), err)
		}
		at := rapid.IntRange(0, len(object)-1).Draw(t, "at")
		flipped := bytes.Clone(object)
		flipped[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		for what, harmed := range map[string][]byte{
			"flipped": flipped, "cut": object[:at], "longer": append(bytes.Clone(object), 0),
		} {
			if _, err := decode(n, harmed, unpack); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s at %d it is read: %v", what, at, err)
			}
			// Nor is anything else read when its name was made to fit.
			again, err := decode(nameSegment(n.first, n.last, harmed), harmed, unpack)
			if err == nil && !slices.EqualFunc(again.Bodies, s.Bodies, bytes.Equal) {
				t.Fatalf("%s at %d and renamed it is read as %q", what, at, again.Bodies)
			}
		}
		for _, other := range []name{
			nameSegment(n.first+1, n.last+1, object), nameSegment(n.first, n.last+1, object),
		} {
			if _, err := decode(other, object, unpack); !errors.Is(err, ErrDamaged) {
				t.Fatalf("as %s it is read: %v", other.text, err)
			}
		}
	})
}

func newCodecs(t testing.TB) (*zstd.Encoder, *zstd.Decoder) {
	t.Helper()
	pack, unpack, err := codecs()
	if err != nil {
		t.Fatal(err)
	}
	return pack, unpack
}

// Whatever stands in an object, nothing but an error comes of it; what is read can be
// written again.
func FuzzNothingIsBelievedOfASegment(f *testing.F) {
	pack, unpack := newCodecs(f)
	_, object, err := Segment{First: 1, Bodies: [][]byte{[]byte(`{"a":1}`), []byte(`{}`)}}.encode(pack)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := unpack.DecodeAll(object, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(plain[:len(plain)-1])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"format":"truebond-archive/1","first":0,"last":0,"before":null,"root":""}` + "\n"))
	f.Add([]byte(`{"format":"truebond-archive/1","first":1,"last":18446744073709551615,"before":[],"root":"x"}` + "\nx\n"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		object := pack.EncodeAll(plain, nil)
		for _, last := range []uint64{1, 2, 1<<64 - 1} {
			s, err := decode(nameSegment(1, last, object), object, unpack)
			if err != nil {
				continue
			}
			if _, _, err := s.encode(pack); err != nil && !strings.Contains(err.Error(), "not one line") {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}

func TestALineThatIsNoneIsRefused(t *testing.T) {
	pack, _ := newCodecs(t)
	for _, body := range []string{"", "a\nb", "\n"} {
		if _, _, err := (Segment{First: 1, Bodies: [][]byte{[]byte(body)}}).encode(pack); err == nil {
			t.Errorf("%q is archived", body)
		}
	}
}

func TestAnEventIsReadFromTheSegmentThatHasIt(t *testing.T) {
	log := newLog(t, "a", 25)
	a, err := Open(t.Context(), kept(t, log, 10))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range log.records {
		if body, err := a.Body(t.Context(), uint64(i)+1); err != nil || !bytes.Equal(body, r.Body) {
			t.Errorf("event %d is read as %q: %v", i+1, body, err)
		}
	}
	for _, position := range []uint64{0, 26} {
		if _, err := a.Body(t.Context(), position); !errors.Is(err, events.ErrGap) {
			t.Errorf("event %d, which there is not: %v", position, err)
		}
	}
}

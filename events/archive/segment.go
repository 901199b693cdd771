package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"truebond/events/merkle"
)

// A Segment is the exact bodies of events that follow one on another. Kept, it is lines
// compressed with Zstandard: a header, then a body a line, so that `zstd -dc` shows it.
type Segment struct {
	First  uint64        // position of the first event
	Bodies [][]byte      // one at least
	edge   []merkle.Hash // right edge of the tree of all events before First
	damage error         // why the bodies are the log's and not the archive's; nil if they are that
}

// Last is the position of the last event.
func (s Segment) Last() uint64 { return s.First + uint64(len(s.Bodies)) - 1 }

// Bounds of a segment. It is full when one is reached. The last segment is written anew
// as the log grows, so these bound what a round of the archiver writes in vain.
const (
	segmentEventsMax = 10_000
	segmentBytesMax  = 4 << 20
)

// plainBytesMax bounds what a segment may unpack to: one body more than a full one, and
// the header. What unpacks to more is not ours.
const plainBytesMax = 32 << 20

const format = "truebond-archive/1"

// A header is a segment's first line.
type header struct {
	Format string   `json:"format"`
	First  uint64   `json:"first"`
	Last   uint64   `json:"last"`
	Before []string `json:"before"` // the right edge of the Merkle tree of all events before First
	Root   string   `json:"root"`   // of the tree of all events up to Last
}

// A name tells what an object holds, so that a listing alone tells what is there.
type name struct {
	first, last uint64
	hash        string // SHA-256 of the object, in hex
	text        string // the whole name
}

const (
	folder        = "log/"
	segmentEnding = ".zst"
)

var segmentName = regexp.MustCompile(`^log/(\d{20})-(\d{20})-([0-9a-f]{64})\.zst$`)

func nameSegment(first, last uint64, object []byte) name {
	n := name{first: first, last: last, hash: hashOf(object)}
	n.text = fmt.Sprintf("%s%020d-%020d-%s%s", folder, first, last, n.hash, segmentEnding)
	return n
}

// parseName is false for what is not a segment's name.
func parseName(text string) (n name, ok bool) {
	parts := segmentName.FindStringSubmatch(text)
	if parts == nil {
		return n, false
	}
	first, err1 := strconv.ParseUint(parts[1], 10, 64)
	last, err2 := strconv.ParseUint(parts[2], 10, 64)
	n = name{first: first, last: last, hash: parts[3], text: text}
	return n, err1 == nil && err2 == nil && first > 0 && first <= last
}

func hashOf(object []byte) string {
	sum := sha256.Sum256(object)
	return hex.EncodeToString(sum[:])
}

// encode writes a segment. It refuses a body that is not one line, as those of the codec
// all are.
func (s Segment) encode(pack *zstd.Encoder) (n name, object []byte, err error) {
	tree, err := merkle.Resume(s.First-1, s.edge)
	if err != nil {
		return n, nil, err
	}
	h := header{Format: format, First: s.First, Last: s.Last(), Before: texts(s.edge)}
	size := 0
	for i, body := range s.Bodies {
		if bytes.IndexByte(body, '\n') >= 0 || len(body) == 0 {
			return n, nil, fmt.Errorf("event %d is not one line", s.First+uint64(i))
		}
		size += len(body) + 1
		tree.Add(merkle.LeafHash(body), nil)
	}
	h.Root = tree.Root().String()
	line, err := json.Marshal(h)
	if err != nil {
		return n, nil, err
	}
	plain := make([]byte, 0, len(line)+1+size)
	plain = append(append(plain, line...), '\n')
	for _, body := range s.Bodies {
		plain = append(append(plain, body...), '\n')
	}
	if len(plain) > plainBytesMax {
		return n, nil, fmt.Errorf("the segment of %d would have %d bytes", s.First, len(plain))
	}
	object = pack.EncodeAll(plain, nil)
	return nameSegment(h.First, h.Last, object), object, nil
}

// decode reads a segment that is kept under a name, and believes nothing: the object must
// have the hash that the name says, and hold what the name and its own header say. Its
// error wraps ErrDamaged.
func decode(n name, object []byte, unpack *zstd.Decoder) (Segment, error) {
	s, err := decodeSegment(n, object, unpack)
	if err != nil {
		return s, fmt.Errorf("%s: %w: %w", n.text, ErrDamaged, err)
	}
	return s, nil
}

func decodeSegment(n name, object []byte, unpack *zstd.Decoder) (s Segment, err error) {
	if hashOf(object) != n.hash {
		return s, errors.New("its bytes are not those that its name tells the hash of")
	}
	plain, err := unpack.DecodeAll(object, nil)
	if err != nil {
		return s, err
	}
	line, rest, _ := bytes.Cut(plain, []byte{'\n'})
	var h header
	in := json.NewDecoder(bytes.NewReader(line))
	in.DisallowUnknownFields()
	if err := in.Decode(&h); err != nil {
		return s, fmt.Errorf("its header: %w", err)
	}
	switch {
	case h.Format != format:
		return s, fmt.Errorf("its format is %q, and this program knows %s", h.Format, format)
	case h.First != n.first || h.Last != n.last:
		return s, fmt.Errorf("it holds the events %d to %d", h.First, h.Last)
	}
	s = Segment{First: h.First}
	if s.edge, err = hashes(h.Before); err != nil {
		return s, err
	}
	tree, err := merkle.Resume(h.First-1, s.edge)
	if err != nil {
		return s, err
	}
	for len(rest) > 0 {
		body, more, whole := bytes.Cut(rest, []byte{'\n'})
		if !whole {
			return s, errors.New("it is cut")
		}
		s.Bodies, rest = append(s.Bodies, body[:len(body):len(body)]), more
		tree.Add(merkle.LeafHash(body), nil)
	}
	switch {
	case uint64(len(s.Bodies)) != h.Last-h.First+1:
		return s, fmt.Errorf("it has %d events", len(s.Bodies))
	case tree.Root().String() != h.Root:
		return s, errors.New("its events are not those that its header tells the root of")
	}
	return s, nil
}

// texts are hashes as checkpoints write them.
func texts(hashes []merkle.Hash) []string {
	all := make([]string, len(hashes))
	for i, h := range hashes {
		all[i] = h.String()
	}
	return all
}

func hashes(texts []string) ([]merkle.Hash, error) {
	all := make([]merkle.Hash, len(texts))
	for i, text := range texts {
		var err error
		if all[i], err = merkle.ParseHash(text); err != nil {
			return nil, fmt.Errorf("its header: %w", err)
		}
	}
	return all, nil
}

// codecs pack and unpack segments. They may be used at the same time. Better levels gain
// nothing: what is left are ids and sealed text, which nothing makes smaller.
func codecs() (*zstd.Encoder, *zstd.Decoder, error) {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, nil, err
	}
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(plainBytesMax))
	return pack, unpack, err
}

// nameCheckpoint names a checkpoint by the size of the log that it was signed for, and by its hash.
func nameCheckpoint(size uint64, signed []byte, ending string) string {
	return fmt.Sprintf("%s%020d-%s%s", folder, size, hashOf(signed), ending)
}

const (
	checkpointEnding = ".checkpoint" // all that it covers is there
	signingEnding    = ".signing"    // it is about to be there
)

var checkpointName = regexp.MustCompile(`^log/(\d{20})-([0-9a-f]{64})(\.checkpoint|\.signing)$`)

// parseCheckpointName is false for what is not a checkpoint's name.
func parseCheckpointName(text string) (size uint64, hash string, ok bool) {
	parts := checkpointName.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return 0, "", false
	}
	size, err := strconv.ParseUint(parts[1], 10, 64)
	return size, parts[2], err == nil
}

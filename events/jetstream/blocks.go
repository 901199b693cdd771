package jetstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"

	"truebond/events/ondisk"
)

// ErrRotten says that a file of the log is not as it was written.
var ErrRotten = errors.New("the log's files are damaged; `truebond restore` mends them from an archive")

// The server's own form of a block: records, each of which is its length (4 bytes; the
// highest bit says that there are headers), position (8), time (8), length of its subject
// (2), subject, length of its headers (4), headers, body, and a hash (8) of all of this but lengths.
const (
	recordHead    = 22
	recordHash    = 8
	subjectSizeAt = 20
	headersSize   = 4
	headersBit    = 1 << 31
	removedBits   = 3 << 62 // of a position, where something was deleted
)

// A blocks is the path of the folder of an embedded log's blocks. The server looks at a record's hash
// when somebody reads it. When it finds a wrong one at a start, it cuts the rest of the block off; a
// wrong position makes it take all memory that there is. So we look first.
type blocks string

func blocksIn(data string) blocks { return blocks(filepath.Join(streamFolder(data), "msgs")) }

// streamFolder is where an embedded server keeps the stream.
func streamFolder(data string) string {
	return filepath.Join(data, "log", "jetstream", "$G", "streams", streamName)
}

// beforeStart looks at what the server will read at its start: the last block; and all of
// them, when it will build its index anew. What a crash has left half written at the log's
// end, behind the durable events, is the server's to cut off.
func (b blocks) beforeStart(ctx context.Context, durable uint64) error {
	numbers, err := b.numbers()
	if err != nil || len(numbers) == 0 {
		return err
	}
	last := numbers[len(numbers)-1]
	trusted, err := b.trustsIndex(last)
	if err != nil {
		return err
	}
	if trusted { // it was stopped in good order
		numbers, durable = numbers[len(numbers)-1:], math.MaxUint64
	}
	return b.check(ctx, numbers, last, durable, 0)
}

// unsyncedMax is how many blocks an append that a kill cut off may have written to: a batch has 32 MiB
// of bodies, a block 8.
const unsyncedMax = 6

// sync makes sure of what a server that was killed has written and not synced. The next one reads that,
// and signs and answers for it, and does not sync it again: a power cut would take it all the same.
func (b blocks) sync() error {
	numbers, err := b.numbers()
	if err != nil || len(numbers) == 0 {
		return err
	}
	for _, n := range numbers[max(0, len(numbers)-unsyncedMax):] {
		err = errors.Join(err, ondisk.Sync(b.name(n)))
	}
	return errors.Join(err, ondisk.Sync(string(b)))
}

// scrubRest is the time between two blocks of 8 MB: it is not to be felt.
const scrubRest = 100 * time.Millisecond

// Scrub looks whether an embedded log is on disk as it was written. It reads the files alone, and
// slowly. The error wraps a *Rot. What outside servers have on their disks is not looked at.
func (l *Log) Scrub(ctx context.Context) error {
	if l.server == nil {
		return nil
	}
	known := l.known.Load()
	last, err := l.Last(ctx)
	if err != nil || max(last, known) == 0 {
		return err
	}
	durable := l.sure.Load()
	if last < known { // the server has met damage, and cut off what it knew
		durable = known
	}
	_, unsettled := l.Settled(ctx, last) // it may be the last event that is damaged
	if unsettled == nil {
		durable = max(durable, last)
	}
	numbers, err := l.server.blocks.numbers()
	if err != nil || len(numbers) == 0 {
		return errors.Join(err, unsettled)
	}
	newest := numbers[len(numbers)-1]
	if err := l.server.blocks.check(ctx, numbers, newest, durable, scrubRest); err != nil {
		return err
	}
	// A server that has met damage cuts it off, with all behind it, and says that the log ends there.
	if end := l.server.blocks.end(numbers); end < durable {
		return &Rot{l.server.blocks.name(newest), 0, end + 1}
	}
	return unsettled
}

// end is the position of the last event that stands in blocks.
func (b blocks) end(numbers []int) uint64 {
	for _, n := range slices.Backward(numbers) {
		if next := b.firstOf(n + 1); next > 1 {
			return next - 1
		}
	}
	return 0
}

// check looks at blocks. Behind the durable events, the last block may be half written: as much of it
// as came with the last append.
func (b blocks) check(ctx context.Context, numbers []int, last int, durable uint64, rest time.Duration) error {
	for _, n := range numbers {
		damage, err := b.damage(n)
		if err != nil {
			return err
		}
		if damage != nil && n == last && damage.Position > durable {
			if damage, err = b.beforeLastAppend(n, damage); err != nil {
				return err
			}
		}
		if damage != nil {
			return damage
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rest):
		}
	}
	return nil
}

// beforeLastAppend is the damage, if a sound record behind it came with a later append: that began when
// what was before it was on disk, so no crash has left the damage.
func (b blocks) beforeLastAppend(number int, damage *Rot) (*Rot, error) {
	block, lost, err := b.read(number)
	if err != nil {
		return nil, err
	}
	if lost { // neither has a crash
		return damage, nil
	}
	h := hasherOf(number)
	for at, position := damage.Offset, damage.Position; ; {
		if at, position = nextSound(block, at+1, position, h); at >= len(block) {
			return nil, nil
		}
		if firstOfAppend(block[at:], position) > damage.Position {
			return damage, nil
		}
	}
}

// firstOfAppend is the position of the first event that was appended together with that of a sound record.
func firstOfAppend(record []byte, position uint64) uint64 {
	headers, _, _ := bytes.Cut(record, []byte("\r\n\r\n"))
	_, rest, _ := bytes.Cut(headers, []byte("\r\n"+server.JSBatchSeq+": "))
	number, _, _ := bytes.Cut(rest, []byte("\r\n"))
	inBatch, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || inBatch == 0 || inBatch > position {
		return position // it came alone
	}
	return position - inBatch + 1
}

func (b blocks) numbers() ([]int, error) {
	entries, err := os.ReadDir(string(b))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a new log
	}
	if err != nil {
		return nil, err
	}
	var all []int
	for _, e := range entries {
		name, isBlock := strings.CutSuffix(e.Name(), ".blk")
		if n, err := strconv.Atoi(name); isBlock && err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (b blocks) name(number int) string { return filepath.Join(string(b), strconv.Itoa(number)+".blk") }

// read reads a block. What the disk cannot read of it is lost, and damaged as what it reads wrong.
func (b blocks) read(number int) (block []byte, lost bool, err error) {
	f, err := os.Open(b.name(number))
	if err != nil {
		return nil, false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	return readAround(f, info.Size())
}

// VerifySettings fails when what the embedded server has noted of the stream's settings, in the log of a data
// folder, is not as it was written. It needs them for nothing: it gets the settings at each start, and leaves the
// files as they are when they do not fit.
func VerifySettings(dir string) error {
	noted, err := os.ReadFile(filepath.Join(streamFolder(dir), "meta.inf"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(filepath.Join(streamFolder(dir), "meta.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h := hasher(streamName)
	_, _ = h.Write(noted)
	if hex.EncodeToString(h.Sum(nil)) != string(sum) {
		return fmt.Errorf("meta.inf or meta.sum in %s is not as it was written", streamFolder(dir))
	}
	return nil
}

func hasher(name string) hash.Hash {
	key := sha256.Sum256([]byte(name))
	h, _ := highwayhash.New64(key[:]) // never fails: the key is as long as it must be
	return h
}

// hasherOf takes the hashes of a block's records.
func hasherOf(block int) hash.Hash { return hasher(streamName + "-" + strconv.Itoa(block)) }

// A Rot is where a file of the log is not as it was written.
type Rot struct {
	File     string
	Offset   int    // of the record that is damaged
	Position uint64 // of the event that should be there
}

func (r *Rot) Error() string {
	return fmt.Sprintf("event %d: %v (%s, from byte %d on)", r.Position, ErrRotten, r.File, r.Offset)
}

// Unwrap is ErrRotten.
func (r *Rot) Unwrap() error { return ErrRotten }

// damage reads a block. It tells the first record that is not as it was written.
func (b blocks) damage(number int) (*Rot, error) {
	block, _, err := b.read(number)
	if err != nil {
		return nil, err
	}
	h := hasherOf(number)
	next := uint64(1)
	for at := 0; at < len(block); {
		length, position := soundRecord(block[at:], h)
		if length == 0 {
			if at == 0 {
				next = b.firstOf(number)
			}
			return &Rot{b.name(number), at, next}, nil
		}
		if position&removedBits == 0 {
			next = position + 1
		}
		at += length
	}
	return nil, nil
}

// firstOf is the position that a block begins with: behind the last one of the block before.
func (b blocks) firstOf(number int) uint64 {
	next := uint64(1)
	block, _, err := b.read(number - 1)
	if err != nil {
		return next // it is the first one
	}
	h := hasherOf(number - 1)
	for at := 0; at < len(block); {
		length, position := soundRecord(block[at:], h)
		if length == 0 {
			break
		}
		next, at = position+1, at+length
	}
	return next
}

// soundRecord is the length and the position of the record that bytes begin with; no
// length if it is not as it was written.
func soundRecord(block []byte, h hash.Hash) (length int, position uint64) {
	if len(block) < recordHead+recordHash {
		return 0, 0
	}
	length = int(binary.LittleEndian.Uint32(block) &^ headersBit)
	subject := int(binary.LittleEndian.Uint16(block[subjectSizeAt:]))
	rest := recordHead + subject
	hasHeaders := binary.LittleEndian.Uint32(block)&headersBit != 0
	if hasHeaders {
		rest += headersSize
	}
	if length > len(block) || rest+recordHash > length {
		return 0, 0
	}
	end := length - recordHash
	if hasHeaders && !endsHeaders(block[rest:end], int(binary.LittleEndian.Uint32(block[rest-headersSize:]))) {
		return 0, 0
	}
	h.Reset()
	_, _ = h.Write(block[4:20])
	_, _ = h.Write(block[recordHead : recordHead+subject])
	_, _ = h.Write(block[rest:end])
	if !bytes.Equal(h.Sum(nil), block[end:length]) {
		return 0, 0
	}
	return length, binary.LittleEndian.Uint64(block[4:])
}

// endsHeaders tells whether headers are as long as is said, which no hash is taken of.
func endsHeaders(text []byte, size int) bool {
	end := []byte("\r\n\r\n")
	return size >= len(end) && size <= len(text) && bytes.Index(text, end) == size-len(end)
}

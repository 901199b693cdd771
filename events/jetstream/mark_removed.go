package jetstream

import (
	"encoding/binary"
	"hash"
	"os"
	"path/filepath"
)

// markRemoved puts a mark that an event was removed where some are damaged, so that the server takes the
// rest of a log that is to be mended: what stands behind an event that is lost is not lost itself.
func (b blocks) markRemoved() error {
	numbers, err := b.numbers()
	if err != nil || len(numbers) == 0 {
		return err
	}
	for _, n := range numbers {
		if err := b.markRemovedIn(n); err != nil {
			return err
		}
	}
	// The index tells of blocks that are not these any more.
	return os.RemoveAll(filepath.Join(string(b), "index.db"))
}

func (b blocks) markRemovedIn(number int) error {
	damage, err := b.damage(number)
	if err != nil || damage == nil {
		return err
	}
	block, _, err := b.read(number)
	if err != nil {
		return err
	}
	h := hasherOf(number)
	for next, at := damage.Position, damage.Offset; at < len(block); {
		length, position := soundRecord(block[at:], h)
		if length > 0 {
			next, at = position+1, at+length
			continue
		}
		end, after := nextSound(block, at+recordHead+recordHash, next, h)
		if end >= len(block) { // nothing sound follows
			block = block[:at]
			break
		}
		mark := block[at:end]
		binary.LittleEndian.PutUint32(mark, uint32(len(mark)))   //nolint:gosec // a block has 8 MB
		binary.LittleEndian.PutUint64(mark[4:], (after-1)|1<<63) // and the server sees that those before it are missing
		binary.LittleEndian.PutUint16(mark[subjectSizeAt:], 0)
		h.Reset()
		_, _ = h.Write(mark[4:20])
		_, _ = h.Write(mark[recordHead : len(mark)-recordHash])
		copy(mark[len(mark)-recordHash:], h.Sum(nil))
		next, at = after, end
	}
	return os.WriteFile(damage.File, block, 0o600)
}

// nextSound is where in a block the first sound record of an event behind a position stands, and which
// event that is. One sector of a disk holds several events, so it need not be the very next.
func nextSound(block []byte, from int, behind uint64, h hash.Hash) (at int, position uint64) {
	for at = from; at+recordHead+recordHash <= len(block); at++ {
		position = binary.LittleEndian.Uint64(block[at+4:])
		// A block has fewer events than bytes; what says otherwise need not be hashed.
		if position <= behind || position-behind > uint64(len(block)) {
			continue
		}
		if length, _ := soundRecord(block[at:], h); length > 0 {
			return at, position
		}
	}
	return len(block), behind
}
